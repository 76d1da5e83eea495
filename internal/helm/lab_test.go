package helm_test

import (
	"context"
	"errors"
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
	spoiled   []byte // what is served instead of the next charts
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
	l := &lab{t: t, config: testenv.Config(t), charts: newChartServer(t), events: newCollector(t)}
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
	l.cache = charts.NewCache(l.charts.client(), 0)
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

// makeNamespace makes a namespace for as long as the test lasts.
func (l *lab) makeNamespace(name string) {
	l.t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := l.client.Create(l.t.Context(), ns); err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { _ = l.client.Delete(context.Background(), ns) })
}
