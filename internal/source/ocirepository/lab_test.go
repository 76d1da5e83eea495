package ocirepository_test

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/source/ocirepository"
	"github.com/gitops-toolkit/flux/internal/testenv"
)

// limit is how long a lab waits for what has to come.
const limit = 60 * time.Second

// advertised is the address in the URLs of artifacts.
const advertised = "artifacts.example:9090"

// lab runs the controller on the sandbox, for one namespace, beside a registry.
type lab struct {
	*testing.T
	client    client.WithWatch
	config    *rest.Config
	scheme    *runtime.Scheme
	namespace string
	server    *registrytest.Server
	data      string // the volume with the artifacts
	temp      string // where layers are unpacked
	eventsURL string
	// clouds and gates of the controller; set before start.
	clouds *cloud.Clouds
	gates  map[string]bool

	mu     sync.Mutex
	events []event
	came   chan struct{} // closed and replaced when an event came
}

// event is what the controller posts.
type event struct {
	InvolvedObject corev1.ObjectReference `json:"involvedObject"`
	Severity       string                 `json:"severity"`
	Reason         string                 `json:"reason"`
	Message        string                 `json:"message"`
	Metadata       map[string]string      `json:"metadata"`
}

func newLab(t *testing.T, opts registrytest.Options) *lab {
	t.Helper()
	l := &lab{T: t, config: testenv.Config(t), scheme: runtime.NewScheme(), data: t.TempDir(), temp: t.TempDir(), came: make(chan struct{})}
	l.must(errors.Join(corev1.AddToScheme(l.scheme), api.AddToScheme(l.scheme)))
	l.namespace = testenv.Namespace(t)
	var err error
	l.client, err = client.NewWithWatch(l.config, client.Options{Scheme: l.scheme})
	l.must(err)
	l.server = registrytest.Start(t, opts)
	events := httptest.NewServer(http.HandlerFunc(l.intake))
	t.Cleanup(events.Close)
	l.eventsURL = events.URL
	return l
}

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *lab) intake(_ http.ResponseWriter, r *http.Request) {
	var e event
	if json.NewDecoder(r.Body).Decode(&e) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
	close(l.came)
	l.came = make(chan struct{})
}

// event waits for a posted event of the object with the reason and message.
func (l *lab) event(name, reason, message string) event {
	l.Helper()
	deadline := time.After(limit)
	for {
		l.mu.Lock()
		came, seen := l.came, append([]event(nil), l.events...)
		l.mu.Unlock()
		for _, e := range seen {
			if e.InvolvedObject.Name == name && e.Reason == reason && e.Message == message {
				return e
			}
		}
		select {
		case <-came:
		case <-deadline:
			l.Fatalf("no event %s %q of %s in %+v", reason, message, name, seen)
		}
	}
}

// count counts the posted events of an object with a reason.
func (l *lab) count(name, reason string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.InvolvedObject.Name == name && e.Reason == reason {
			n++
		}
	}
	return n
}

// start runs the controller until stop is called, or the test ends.
func (l *lab) start() (stop func()) {
	l.Helper()
	artifacts, err := store.Open(store.Options{Root: l.data, Advertised: advertised})
	l.must(err)
	members, err := archive.OpenMembers(filepath.Join(l.data, ".members"), 64<<20)
	l.must(err)
	settings := kernel.Defaults()
	settings.RuntimeNamespace, settings.EventsAddr, settings.Gates = l.namespace, l.eventsURL, l.gates
	settings.GracefulShutdownTimeout, settings.MinRetryDelay = 5*time.Second, 50*time.Millisecond
	process, err := kernel.NewProcess(l.config, kernel.ProcessOptions{
		Scheme: l.scheme, MetricsAddr: "0", HealthAddr: "0", WatchNamespace: l.namespace, Log: logr.Discard(),
		GracefulShutdownTimeout: settings.GracefulShutdownTimeout,
	})
	l.must(err)
	l.must(ocirepository.Register(process.Controller("source-controller", settings), ocirepository.Options{
		Artifacts: artifacts, Archives: archive.NewBuilder(archive.Options{Members: members}),
		Registries: registry.NewPool(registry.Options{Retries: []time.Duration{time.Millisecond}}), TempDir: l.temp, Clouds: l.clouds,
	}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := process.Run(ctx); err != nil {
			l.Errorf("the controller ended: %v", err)
		}
	}()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			<-done
			_ = artifacts.Close()
		})
	}
	l.Cleanup(stop)
	return stop
}

// create makes a OCIRepository that follows the tag v1; change adapts it.
func (l *lab) create(name string, change func(*sourcev1.OCIRepository)) *sourcev1.OCIRepository {
	l.Helper()
	obj := &sourcev1.OCIRepository{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: l.namespace},
		Spec: sourcev1.OCIRepositorySpec{
			URL: l.server.URL("app"), Interval: meta.NewDuration(time.Hour), Reference: &sourcev1.OCIRepositoryRef{Tag: "v1"},
		},
	}
	if change != nil {
		change(obj)
	}
	l.must(l.client.Create(context.Background(), obj))
	l.Cleanup(func() { l.letGo(name) })
	return obj
}

// letGo takes the finalizer off, so that the namespace can go.
func (l *lab) letGo(name string) {
	obj := &sourcev1.OCIRepository{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: l.namespace}}
	_ = l.client.Patch(context.Background(), obj, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
}

func (l *lab) get(name string) *sourcev1.OCIRepository {
	l.Helper()
	obj := &sourcev1.OCIRepository{}
	l.must(l.client.Get(context.Background(), types.NamespacedName{Namespace: l.namespace, Name: name}, obj))
	return obj
}

func (l *lab) patch(name, patch string) {
	l.Helper()
	obj := &sourcev1.OCIRepository{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: l.namespace}}
	l.must(l.client.Patch(context.Background(), obj, client.RawPatch(types.MergePatchType, []byte(patch))))
}

// request asks for a reconciliation and waits for its answer.
func (l *lab) request(name, token string) *sourcev1.OCIRepository {
	l.Helper()
	l.patch(name, `{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"`+token+`"}}}`)
	return l.until(name, "request "+token+" handled", func(o *sourcev1.OCIRepository) bool { return o.Status.LastHandledReconcileAt == token })
}

// until waits for a state of the object.
func (l *lab) until(name, what string, ok func(*sourcev1.OCIRepository) bool) *sourcev1.OCIRepository {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	w, err := l.client.Watch(ctx, &sourcev1.OCIRepositoryList{}, client.InNamespace(l.namespace), client.MatchingFields{"metadata.name": name})
	l.must(err)
	defer w.Stop()
	var last *sourcev1.OCIRepository
	for e := range w.ResultChan() {
		if obj, is := e.Object.(*sourcev1.OCIRepository); is {
			if last = obj; ok(obj) {
				return obj
			}
		}
	}
	text, _ := json.MarshalIndent(last, "", " ")
	l.Fatalf("%s: not %q: %s", name, what, text)
	return nil
}

// ready waits until the object is Ready for its generation with a new enough artifact.
func (l *lab) ready(name, revision string) *sourcev1.OCIRepository {
	l.Helper()
	return l.until(name, "ready with "+revision, func(o *sourcev1.OCIRepository) bool {
		c := o.Status.Conditions.Get(meta.ReadyCondition)
		return c != nil && c.Status == metav1.ConditionTrue && o.Status.ObservedGeneration == o.Generation &&
			o.Status.Artifact != nil && o.Status.Artifact.Revision == revision
	})
}

// failed waits until Ready is False with the reason, and returns the message.
func (l *lab) failed(name, reason string) (*sourcev1.OCIRepository, string) {
	l.Helper()
	obj := l.until(name, "failed with "+reason, func(o *sourcev1.OCIRepository) bool {
		c := o.Status.Conditions.Get(meta.ReadyCondition)
		return c != nil && c.Status == metav1.ConditionFalse && c.Reason == reason
	})
	return obj, obj.Status.Conditions.Get(meta.ReadyCondition).Message
}

// file is one entry of an archive.
type file struct {
	name string
	mode int64
	data string
}

// files reads the stored artifact of the object, or any archive.
func (l *lab) files(obj *sourcev1.OCIRepository) map[string]string {
	l.Helper()
	out := map[string]string{}
	for _, f := range readArchive(l.T, filepath.Join(l.data, filepath.FromSlash(obj.Status.Artifact.Path))) {
		if f.mode&0o100 == 0 || f.data != "" {
			out[f.name] = f.data
		}
	}
	return out
}

func readArchive(t *testing.T, path string) (list []file) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, file{h.Name, h.Mode, string(data)})
	}
}
