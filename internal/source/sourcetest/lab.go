// Package sourcetest runs the controllers of sources in tests, and those of images: on the sandbox, for one namespace,
// with a volume and an intake for events of their own.
package sourcetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
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
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/testenv"
	"github.com/gitops-toolkit/flux/internal/testenv/sealed"
)

// Limit is how long a lab waits for what has to come.
const Limit = 90 * time.Second

// Advertised is the address in the URLs of artifacts.
const Advertised = "artifacts.example:9090"

// Lab is one namespace with the controllers in it.
type Lab struct {
	*testing.T
	Client    client.WithWatch
	Namespace string
	// Data is the volume with the artifacts, Temp for what is put aside.
	Data, Temp string
	// Artifacts is the store of the controllers that run now.
	Artifacts *store.Store
	// Settings changes those of the controllers; set it before Start.
	Settings func(*kernel.Settings)
	// Config of the sandbox, and the Scheme of all kinds.
	Config *rest.Config
	Scheme *runtime.Scheme
	// Shard, if set, is a label that Create gives and the controllers look for, instead of the namespace.
	Shard string
	// Logger of the controllers, nothing if not set.
	Logger logr.Logger

	eventsURL string
	closers   []io.Closer

	mu     sync.Mutex
	events []Event
	came   chan struct{} // closed and replaced when an event came
}

// Event is what the controllers post.
type Event struct {
	InvolvedObject corev1.ObjectReference `json:"involvedObject"`
	Severity       string                 `json:"severity"`
	Reason         string                 `json:"reason"`
	Message        string                 `json:"message"`
	Metadata       map[string]string      `json:"metadata"`
}

// New makes a lab; without a sandbox the test is skipped.
func New(t *testing.T) *Lab {
	t.Helper()
	l := &Lab{T: t, Config: testenv.Config(t), Scheme: runtime.NewScheme(), Data: sealed.TempDir(t), Temp: t.TempDir(), Logger: logr.Discard(), came: make(chan struct{})}
	l.Must(errors.Join(corev1.AddToScheme(l.Scheme), api.AddToScheme(l.Scheme)))
	l.Namespace = testenv.Namespace(t)
	var err error
	l.Client, err = client.NewWithWatch(l.Config, client.Options{Scheme: l.Scheme})
	l.Must(err)
	events := httptest.NewServer(http.HandlerFunc(l.intake))
	t.Cleanup(events.Close)
	l.eventsURL = events.URL
	return l
}

// Must ends the test at an error.
func (l *Lab) Must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *Lab) intake(_ http.ResponseWriter, r *http.Request) {
	var e Event
	if json.NewDecoder(r.Body).Decode(&e) != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
	close(l.came)
	l.came = make(chan struct{})
}

// Event waits for a posted event of the object with the reason and message.
func (l *Lab) Event(name, reason, message string) Event {
	l.Helper()
	return l.AwaitEvent(fmt.Sprintf("%s %q of %s", reason, message, name), func(e Event) bool {
		return e.InvolvedObject.Name == name && e.Reason == reason && e.Message == message
	})
}

// AwaitEvent waits for a posted event that is the right one.
func (l *Lab) AwaitEvent(what string, ok func(Event) bool) Event {
	l.Helper()
	deadline := time.After(Limit)
	for {
		l.mu.Lock()
		came, seen := l.came, append([]Event(nil), l.events...)
		l.mu.Unlock()
		for _, e := range seen {
			if ok(e) {
				return e
			}
		}
		select {
		case <-came:
		case <-deadline:
			l.Fatalf("no event %s in %+v", what, seen)
		}
	}
}

// Count counts the posted events of an object with a reason.
func (l *Lab) Count(name, reason string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.InvolvedObject.Name == name && e.Reason == reason {
			n++
		}
	}
	return n
}

// AwaitCount waits until so many events of an object with a reason were posted.
func (l *Lab) AwaitCount(name, reason string, want int) {
	l.Helper()
	deadline := time.After(Limit)
	for {
		l.mu.Lock()
		came := l.came
		l.mu.Unlock()
		if l.Count(name, reason) >= want {
			return
		}
		select {
		case <-came:
		case <-deadline:
			l.Fatalf("%d events %s of %s, want %d", l.Count(name, reason), reason, name, want)
		}
	}
}

// Close closes something of the controllers when they have stopped, what came last first.
func (l *Lab) Close(c io.Closer) { l.closers = append(l.closers, c) }

// Start runs the controllers of sources that register adds until stop is called, or the test ends.
func (l *Lab) Start(register func(m *kernel.Manager) error) (stop func()) {
	l.Helper()
	artifacts, err := store.Open(store.Options{Root: l.Data, Advertised: Advertised})
	l.Must(err)
	l.Artifacts = artifacts
	l.Close(artifacts)
	return l.Run(func(p *kernel.Process, s kernel.Settings) error {
		return register(p.Controller("source-controller", s))
	})
}

// Run runs the controllers that build makes until stop is called, or the test ends.
func (l *Lab) Run(build func(p *kernel.Process, s kernel.Settings) error) (stop func()) {
	l.Helper()
	settings := kernel.Defaults()
	settings.RuntimeNamespace, settings.EventsAddr = l.Namespace, l.eventsURL
	settings.GracefulShutdownTimeout, settings.MinRetryDelay = 5*time.Second, 50*time.Millisecond
	watched := l.Namespace
	if l.Shard != "" {
		settings.WatchLabelSelector, watched = shardLabel+"="+l.Shard, ""
	}
	if l.Settings != nil {
		l.Settings(&settings)
	}
	process, err := kernel.NewProcess(l.Config, kernel.ProcessOptions{
		Scheme: l.Scheme, MetricsAddr: "0", HealthAddr: "0", WatchNamespace: watched, Log: l.Logger,
		GracefulShutdownTimeout: settings.GracefulShutdownTimeout,
	})
	l.Must(err)
	l.Must(build(process, settings))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := process.Run(ctx); err != nil {
			l.Errorf("the controllers ended: %v", err)
		}
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		<-done
		for _, c := range slices.Backward(l.closers) {
			_ = c.Close()
		}
		l.closers = nil
	})
	l.Cleanup(stop)
	return stop
}

const shardLabel = "lab"

// Create makes an object; its finalizer is taken off at the end, so that the namespace can go.
func (l *Lab) Create(obj client.Object) {
	l.Helper()
	if obj.GetNamespace() == "" {
		obj.SetNamespace(l.Namespace)
	}
	if l.Shard != "" {
		obj.SetLabels(map[string]string{shardLabel: l.Shard})
	}
	l.Must(l.Client.Create(context.Background(), obj))
	l.Cleanup(func() {
		_ = l.Client.Patch(context.Background(), obj, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
	})
}

// Secret makes a Secret of keys and values.
func (l *Lab) Secret(name string, pairs ...string) {
	l.Helper()
	data := map[string][]byte{}
	for i := 0; i < len(pairs); i += 2 {
		data[pairs[i]] = []byte(pairs[i+1])
	}
	l.Create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: data})
}

// Patch changes an object by a merge patch.
func (l *Lab) Patch(obj client.Object, name, patch string) {
	l.Helper()
	obj.SetName(name)
	obj.SetNamespace(l.Namespace)
	l.Must(l.Client.Patch(context.Background(), obj, client.RawPatch(types.MergePatchType, []byte(patch))))
}

// Get reads an object.
func Get[T client.Object](l *Lab, name string) T {
	l.Helper()
	obj := fresh[T]()
	l.Must(l.Client.Get(context.Background(), types.NamespacedName{Namespace: l.Namespace, Name: name}, obj))
	return obj
}

func fresh[T client.Object]() T {
	var zero T
	return reflect.New(reflect.TypeOf(zero).Elem()).Interface().(T)
}

// Request asks for a reconciliation and waits for its answer.
func Request[T meta.Object](l *Lab, name, token string) T {
	l.Helper()
	l.Patch(fresh[T](), name, `{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"`+token+`"}}}`)
	return Until(l, name, "request "+token+" handled", func(o T) bool { return o.GetLastHandledReconcileAt() == token })
}

// Until waits for a state of an object.
func Until[T client.Object](l *Lab, name, what string, ok func(T) bool) T {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	defer cancel()
	kind, err := l.Client.GroupVersionKindFor(fresh[T]())
	l.Must(err)
	kind.Kind += "List"
	list, err := l.Scheme.New(kind)
	l.Must(err)
	w, err := l.Client.Watch(ctx, list.(client.ObjectList), client.InNamespace(l.Namespace), client.MatchingFields{"metadata.name": name})
	l.Must(err)
	defer w.Stop()
	var last T
	for e := range w.ResultChan() {
		if obj, is := e.Object.(T); is {
			if last = obj; ok(obj) {
				return obj
			}
		}
	}
	last.SetManagedFields(nil)
	text, _ := json.Marshal(last)
	l.Fatalf("%s: not %q: %s", name, what, text)
	return last
}

// Ready waits until an object is Ready for its generation with an artifact of the revision, any if it is empty.
func Ready[T interface {
	meta.Object
	meta.Source
}](l *Lab, name, revision string) T {
	l.Helper()
	return Until(l, name, "ready with "+revision, func(o T) bool {
		c := meta.Conditions(o.GetConditions()).Get(meta.ReadyCondition)
		return c != nil && c.Status == metav1.ConditionTrue && o.GetObservedGeneration() == o.GetGeneration() &&
			o.GetArtifact() != nil && (revision == "" || o.GetArtifact().Revision == revision)
	})
}

// Failed waits until Ready is False with the reason, and returns the message.
func Failed[T meta.Object](l *Lab, name, reason string) (T, string) {
	l.Helper()
	obj := Until(l, name, "failed with "+reason, func(o T) bool {
		c := meta.Conditions(o.GetConditions()).Get(meta.ReadyCondition)
		return c != nil && c.Status == metav1.ConditionFalse && c.Reason == reason
	})
	return obj, meta.Conditions(obj.GetConditions()).Get(meta.ReadyCondition).Message
}

// Gone waits until an object is no more.
func Gone[T client.Object](l *Lab, name string) {
	l.Helper()
	deadline := time.Now().Add(Limit)
	for time.Now().Before(deadline) {
		err := l.Client.Get(context.Background(), types.NamespacedName{Namespace: l.Namespace, Name: name}, fresh[T]())
		if client.IgnoreNotFound(err) == nil && err != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	l.Fatalf("%s is still there", name)
}
