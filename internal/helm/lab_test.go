package helm_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/apply/health"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/fetch"
	"github.com/gitops-toolkit/flux/internal/helm"
	"github.com/gitops-toolkit/flux/internal/helm/charts"
	"github.com/gitops-toolkit/flux/internal/helm/kube"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/testenv"
	"github.com/gitops-toolkit/flux/manifests"
)

// patience is how long a lab waits for what has to come.
const patience = 90 * time.Second

// lab is a namespace in which a HelmRelease controller runs against the test's API server, through a proxy that counts
// its requests. Charts come from OCIRepositories whose artifact the test writes itself.
type lab struct {
	t         *testing.T
	namespace string
	client    client.WithWatch
	config    *rest.Config
	proxied   *rest.Config
	charts    *chartServer
	cache     *charts.Cache
	events    *collector
	settings  kernel.Settings
	options   helm.Options
	stop      func()

	mu   sync.Mutex
	seen []string
}

var install struct {
	once sync.Once
	err  error
}

func init() { log.SetLogger(logr.Discard()) }

func scheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(s), appsv1.AddToScheme(s), rbacv1.AddToScheme(s), helmv2.AddToScheme(s), sourcev1.AddToScheme(s)); err != nil {
		t.Fatal(err)
	}
	return s
}

func newLab(t *testing.T, change ...func(*lab)) *lab {
	t.Helper()
	l := &lab{t: t, config: testenv.Config(t), charts: &chartServer{content: map[string][]byte{}}, events: newCollector(t)}
	var err error
	if l.client, err = client.NewWithWatch(l.config, client.Options{Scheme: scheme(t)}); err != nil {
		t.Fatal(err)
	}
	install.once.Do(func() {
		crds, err := manifests.CRDs()
		for _, crd := range crds {
			err = errors.Join(err, l.client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(crd), client.FieldOwner("helm-test"), client.ForceOwnership))
		}
		install.err = err
	})
	if install.err != nil {
		t.Fatal(install.err)
	}
	l.namespace = testenv.Namespace(t)
	t.Cleanup(l.letGo)
	l.proxy()
	l.cache = charts.NewCache(l.charts, 0)
	l.settings = kernel.Defaults()
	l.settings.RuntimeNamespace, l.settings.IntervalJitterPercentage = l.namespace, 0
	l.settings.EventsAddr = l.events.server.URL
	l.settings.GracefulShutdownTimeout, l.settings.MinRetryDelay = 5*time.Second, 50*time.Millisecond
	l.settings.Gates = map[string]bool{}
	for _, f := range change {
		f(l)
	}
	l.start()
	return l
}

// with returns the lab for a subtest.
func (l *lab) with(t *testing.T) *lab {
	return &lab{t: t, namespace: l.namespace, client: l.client, config: l.config, charts: l.charts, cache: l.cache, events: l.events, settings: l.settings}
}

// start runs the controller until stop is called.
func (l *lab) start() {
	l.t.Helper()
	process, err := kernel.NewProcess(l.proxied, kernel.ProcessOptions{
		Scheme: scheme(l.t), MetricsAddr: "0", HealthAddr: "0", WatchNamespace: l.namespace, Log: testLog(l.t),
		GracefulShutdownTimeout: 5 * time.Second,
	})
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	watches, err := metadata.NewForConfig(l.proxied)
	if err != nil {
		l.t.Fatal(err)
	}
	o := l.options
	o.Charts, o.Clusters = l.cache, &kube.Pool{Clients: &apply.ClientPool{}}
	o.Health = health.NewHub(ctx, watches)
	if o.Releases, err = helm.NewFollower(watches, l.namespace); err != nil {
		l.t.Fatal(err)
	}
	if err := helm.Register(process.Controller("helm-controller", l.settings), o); err != nil {
		l.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- process.Run(ctx) }()
	l.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			l.t.Logf("the controller stopped: %v", err)
		}
	})
	l.t.Cleanup(l.stop)
}

// testLog writes the controller's log to the test's when HELM_TEST_LOG is set.
func testLog(t *testing.T) logr.Logger {
	if os.Getenv("HELM_TEST_LOG") == "" {
		return logr.Discard()
	}
	logger, err := kernel.NewLogger(os.Stderr, "json", "debug")
	if err != nil {
		t.Fatal(err)
	}
	return logger.WithValues("test", t.Name())
}

// proxy passes requests on to the API server and remembers them.
func (l *lab) proxy() {
	transport, err := rest.TransportFor(l.config)
	if err != nil {
		l.t.Fatal(err)
	}
	target, err := url.Parse(l.config.Host)
	if err != nil {
		l.t.Fatal(err)
	}
	reverse := &httputil.ReverseProxy{
		Transport: transport, FlushInterval: -1,
		Rewrite:      func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.note(r)
		reverse.ServeHTTP(w, r)
	}))
	l.t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	l.proxied = &rest.Config{Host: server.URL, QPS: -1}
}

func (l *lab) note(r *http.Request) {
	path, query := strings.Trim(r.URL.Path, "/"), r.URL.Query()
	if query.Get("watch") == "true" || strings.Contains(path, "/leases") {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = append(l.seen, strings.ToLower(r.Method)+" "+path+"?"+r.URL.RawQuery)
}

// requests returns those since the last call.
func (l *lab) requests() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := l.seen
	l.seen = nil
	return seen
}

// letGo removes finalizers that a stopped controller left.
func (l *lab) letGo() {
	list := &helmv2.HelmReleaseList{}
	if err := l.client.List(context.Background(), list, client.InNamespace(l.namespace)); err != nil {
		return
	}
	for i := range list.Items {
		_ = l.client.Patch(context.Background(), &list.Items[i], client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
	}
}

// chartServer serves charts by URL.
type chartServer struct {
	mu      sync.Mutex
	content map[string][]byte
	fetched int
}

// Fetch implements charts.Fetcher.
func (s *chartServer) Fetch(_ context.Context, ref artifact.Ref, f *os.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetched++
	content, ok := s.content[ref.URL]
	if !ok {
		return fmt.Errorf("failed to download archive: %w", fetch.ErrNotFound)
	}
	_, err := f.Write(content)
	return err
}

// pack makes a chart archive of files.
func pack(t testing.TB, name string, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	tw := tar.NewWriter(zw)
	for _, file := range sortedKeys(files) {
		content := files[file]
		if err := tw.WriteHeader(&tar.Header{Name: name + "/" + file, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	for i := range keys {
		for j := i; j > 0 && keys[j] < keys[j-1]; j-- {
			keys[j], keys[j-1] = keys[j-1], keys[j]
		}
	}
	return keys
}

// demo is a chart with a ConfigMap; more adds or replaces files.
func demo(version string, more map[string]string) map[string]string {
	files := map[string]string{
		"Chart.yaml":  "apiVersion: v2\nname: demo\nversion: " + version + "\nappVersion: \"" + version + "\"\n",
		"values.yaml": "message: hello\nbroken: false\n",
		"templates/config.yaml": `apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  message: {{ .Values.message | quote }}
  revision: {{ .Release.Revision | quote }}
  chart: {{ .Chart.Version | quote }}
{{- if .Values.broken }}
  broken: {{ fail "broken value set" }}
{{- end }}
`,
	}
	for name, content := range more {
		files[name] = content
	}
	return files
}

// source offers a chart as the OCIRepository name.
func (l *lab) source(name, version string, files map[string]string) {
	l.t.Helper()
	content := pack(l.t, "demo", files)
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(content))
	at := "http://charts.invalid/" + digest
	l.charts.mu.Lock()
	l.charts.content[at] = content
	l.charts.mu.Unlock()
	key := types.NamespacedName{Namespace: l.namespace, Name: name}
	repo := &sourcev1.OCIRepository{}
	if err := l.client.Get(l.t.Context(), key, repo); err != nil {
		repo = &sourcev1.OCIRepository{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: name}}
		repo.Spec.URL, repo.Spec.Interval = "oci://example.com/demo", meta.NewDuration(time.Hour)
		if err := l.client.Create(l.t.Context(), repo); err != nil {
			l.t.Fatal(err)
		}
	}
	old := repo.DeepCopy()
	repo.Status.ObservedGeneration = repo.Generation
	repo.Status.Artifact = &meta.Artifact{
		Path: "ocirepository/x", URL: at, Revision: version + "@" + digest, Digest: digest, LastUpdateTime: meta.NewTime(time.Now()),
	}
	if err := l.client.Status().Patch(l.t.Context(), repo, client.MergeFrom(old)); err != nil {
		l.t.Fatal(err)
	}
}

// create creates a HelmRelease of the source "demo" with an interval that does not come during the test.
func (l *lab) create(name string, change ...func(*helmv2.HelmReleaseSpec)) *helmv2.HelmRelease {
	l.t.Helper()
	hr := &helmv2.HelmRelease{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: name}}
	hr.Spec = helmv2.HelmReleaseSpec{
		ChartRef: &helmv2.CrossNamespaceSourceReference{Kind: "OCIRepository", Name: "demo"}, Interval: meta.NewDuration(time.Hour),
		Timeout: meta.DurationPtr(20 * time.Second),
	}
	for _, f := range change {
		f(&hr.Spec)
	}
	if err := l.client.Create(l.t.Context(), hr); err != nil {
		l.t.Fatal(err)
	}
	return hr
}

func (l *lab) get(name string) *helmv2.HelmRelease {
	l.t.Helper()
	hr := &helmv2.HelmRelease{}
	if err := l.client.Get(l.t.Context(), types.NamespacedName{Namespace: l.namespace, Name: name}, hr); err != nil {
		l.t.Fatal(err)
	}
	return hr
}

func (l *lab) update(name string, change func(*helmv2.HelmRelease)) {
	l.t.Helper()
	hr := l.get(name)
	old := hr.DeepCopy()
	change(hr)
	if err := l.client.Patch(l.t.Context(), hr, client.MergeFrom(old)); err != nil {
		l.t.Fatal(err)
	}
}

// request asks for a pass by annotation, and waits for the answer.
func (l *lab) request(name string, also ...string) *helmv2.HelmRelease {
	l.t.Helper()
	at := time.Now().Format(time.RFC3339Nano)
	l.update(name, func(hr *helmv2.HelmRelease) {
		metav1.SetMetaDataAnnotation(&hr.ObjectMeta, meta.ReconcileRequestAnnotation, at)
		for _, a := range also {
			metav1.SetMetaDataAnnotation(&hr.ObjectMeta, a, at)
		}
	})
	return l.until(name, "request handled", func(hr *helmv2.HelmRelease) bool { return hr.Status.LastHandledReconcileAt == at })
}

// until waits until a HelmRelease is as wanted.
func (l *lab) until(name, what string, wanted func(*helmv2.HelmRelease) bool) *helmv2.HelmRelease {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	last := &helmv2.HelmRelease{}
	for ctx.Err() == nil {
		w, err := l.client.Watch(ctx, &helmv2.HelmReleaseList{}, client.InNamespace(l.namespace), client.MatchingFields{"metadata.name": name})
		if err != nil {
			continue
		}
		for e := range w.ResultChan() {
			hr, ok := e.Object.(*helmv2.HelmRelease)
			if !ok {
				break
			}
			if last = hr; wanted(hr) {
				w.Stop()
				return hr
			}
		}
		w.Stop()
	}
	text, _ := json.MarshalIndent(last.Status, "", " ")
	l.t.Fatalf("waited %s for %s to be %s; its status is\n%s", patience, name, what, text)
	return nil
}

// ready waits until a HelmRelease is Ready for its generation with a revision of the release.
func (l *lab) ready(name string, version int) *helmv2.HelmRelease {
	l.t.Helper()
	return l.until(name, fmt.Sprintf("Ready with v%d", version), func(hr *helmv2.HelmRelease) bool {
		latest := hr.Status.History.Latest()
		return latest != nil && latest.Version == version && hr.Status.ObservedGeneration == hr.Generation &&
			apimeta.IsStatusConditionTrue(hr.Status.Conditions, meta.ReadyCondition)
	})
}

// failed waits until Ready is False for a reason, and returns its message.
func (l *lab) failed(name, reason string) (*helmv2.HelmRelease, string) {
	l.t.Helper()
	hr := l.until(name, "Ready=False "+reason, func(hr *helmv2.HelmRelease) bool {
		c := condition(hr, meta.ReadyCondition)
		return c != nil && c.Status == metav1.ConditionFalse && c.Reason == reason && c.ObservedGeneration == hr.Generation
	})
	return hr, condition(hr, meta.ReadyCondition).Message
}

// stalled waits until no repetition helps, and returns the message of Stalled.
func (l *lab) stalled(name, reason string) (*helmv2.HelmRelease, string) {
	l.t.Helper()
	hr := l.until(name, "Stalled "+reason, func(hr *helmv2.HelmRelease) bool {
		c := condition(hr, meta.StalledCondition)
		return c != nil && c.Status == metav1.ConditionTrue && c.Reason == reason && c.ObservedGeneration == hr.Generation
	})
	return hr, condition(hr, meta.StalledCondition).Message
}

func condition(hr *helmv2.HelmRelease, kind string) *metav1.Condition {
	return apimeta.FindStatusCondition(hr.Status.Conditions, kind)
}

// configMap returns the data of a ConfigMap, nil when it is not there.
func (l *lab) configMap(name string) map[string]string {
	l.t.Helper()
	cm := &corev1.ConfigMap{}
	err := l.client.Get(l.t.Context(), types.NamespacedName{Namespace: l.namespace, Name: name}, cm)
	if client.IgnoreNotFound(err) != nil {
		l.t.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return cm.Data
}

// gone waits until a HelmRelease is gone.
func (l *lab) gone(name string) {
	l.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		err := l.client.Get(l.t.Context(), types.NamespacedName{Namespace: l.namespace, Name: name}, &helmv2.HelmRelease{})
		if client.IgnoreNotFound(err) == nil && err != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	l.t.Fatalf("%s is still there: %+v", name, l.get(name).Status)
}

func (l *lab) delete(name string) {
	l.t.Helper()
	if err := l.client.Delete(l.t.Context(), l.get(name)); err != nil {
		l.t.Fatal(err)
	}
}

// storedRevisions lists the revisions in Helm's storage by version, with their status.
func (l *lab) storedRevisions(release string) map[string]string {
	l.t.Helper()
	list := &corev1.SecretList{}
	if err := l.client.List(l.t.Context(), list, client.InNamespace(l.namespace), client.MatchingLabels{"owner": "helm", "name": release}); err != nil {
		l.t.Fatal(err)
	}
	out := map[string]string{}
	for _, s := range list.Items {
		out[s.Labels["version"]] = s.Labels["status"]
	}
	return out
}

func values(t testing.TB, v string) *meta.JSON {
	t.Helper()
	out := &meta.JSON{}
	if err := json.Unmarshal([]byte(v), out); err != nil {
		t.Fatal(err)
	}
	return out
}

// collector takes the events that a controller posts.
type collector struct {
	server *httptest.Server
	mu     sync.Mutex
	events []event
}

type event struct {
	InvolvedObject corev1.ObjectReference `json:"involvedObject"`
	Severity       string                 `json:"severity"`
	Reason         string                 `json:"reason"`
	Message        string                 `json:"message"`
	Metadata       map[string]string      `json:"metadata"`
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var e event
		if json.NewDecoder(r.Body).Decode(&e) == nil {
			c.mu.Lock()
			c.events = append(c.events, e)
			c.mu.Unlock()
		}
	}))
	t.Cleanup(c.server.Close)
	return c
}

// event waits for an event of an object with a reason.
func (l *lab) event(name, reason string) event {
	l.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		l.events.mu.Lock()
		for _, e := range l.events.events {
			if e.InvolvedObject.Name == name && e.Reason == reason {
				l.events.mu.Unlock()
				return e
			}
		}
		l.events.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
	}
	l.t.Fatalf("no event %s of %s", reason, name)
	return event{}
}
