package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/api"
	"github.com/gitops-toolkit/flux/api/meta"
	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/notify/inbound"
	"github.com/gitops-toolkit/flux/internal/testenv"
)

// lab is a controller in a namespace of its own on the test's API server.
type lab struct {
	testing.TB
	ctx           context.Context
	c             client.WithWatch
	ns            string
	events, hooks *httptest.Server
	// stop ends the controller; start starts another one, as a new pod would.
	stop, start func()
}

func newLab(t testing.TB, change ...func(*kernel.Settings)) *lab {
	t.Helper()
	return newLabWith(t, func(*kernel.Manager, *Options) {}, change...)
}

// newLabWith is newLab with other options of the controller.
func newLabWith(t testing.TB, tune func(*kernel.Manager, *Options), change ...func(*kernel.Settings)) *lab {
	t.Helper()
	config := testenv.Config(t)
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := api.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	l := &lab{TB: t, ctx: ctx, c: c, ns: testenv.Namespace(t)}
	l.start = func() { l.run(config, scheme, tune, change) }
	l.start()
	t.Cleanup(func() {
		l.letGo()
		l.stop()
	})
	return l
}

// run starts a controller with nothing on its disk.
func (l *lab) run(config *rest.Config, scheme *runtime.Scheme, tune func(*kernel.Manager, *Options), change []func(*kernel.Settings)) {
	l.Helper()
	settings := kernel.Defaults()
	settings.RuntimeNamespace, settings.MinRetryDelay = l.ns, 50*time.Millisecond
	for _, f := range change {
		f(&settings)
	}
	process, err := kernel.NewProcess(config, kernel.ProcessOptions{
		Scheme: scheme, MetricsAddr: "0", HealthAddr: "0", WatchNamespace: l.ns, Log: logr.Discard(), GracefulShutdownTimeout: time.Second,
	})
	if err != nil {
		l.Fatal(err)
	}
	events, hooks := http.NewServeMux(), http.NewServeMux()
	m := process.Controller("notification-controller", settings)
	options := Options{Events: events.Handle, Hooks: hooks.Handle, RateLimitInterval: 5 * time.Minute, Dir: l.TempDir()}
	tune(m, &options)
	if err := Register(m, options); err != nil {
		l.Fatal(err)
	}
	run, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- process.Run(run) }()
	l.stop = sync.OnceFunc(func() {
		stop()
		if err := <-ended; err != nil {
			l.Errorf("the process ended with %v", err)
		}
	})
	l.events, l.hooks = httptest.NewServer(events), httptest.NewServer(hooks)
	l.Cleanup(l.events.Close)
	l.Cleanup(l.hooks.Close)
}

// letGo deletes what has finalizers while the controller still runs.
func (l *lab) letGo() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	_ = l.c.DeleteAllOf(ctx, &notificationv1.Receiver{}, client.InNamespace(l.ns))
	for ctx.Err() == nil {
		list := &notificationv1.ReceiverList{}
		if err := l.c.List(ctx, list, client.InNamespace(l.ns)); err == nil && len(list.Items) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// create makes an object from the YAML of its spec.
func (l *lab) create(obj client.Object, name, spec string) {
	l.Helper()
	if err := yaml.Unmarshal([]byte(spec), obj); err != nil {
		l.Fatal(err)
	}
	obj.SetName(name)
	obj.SetNamespace(l.ns)
	if err := l.c.Create(l.ctx, obj); err != nil {
		l.Fatal(err)
	}
}

// receiver creates one and returns its path once its Ready has the reason.
func (l *lab) receiver(name, reason, spec string) string {
	l.Helper()
	r := &notificationv1.Receiver{}
	l.create(r, name, "spec: "+spec)
	return l.settled(name, reason).Status.WebhookPath
}

func (l *lab) settled(name, reason string) *notificationv1.Receiver {
	l.Helper()
	r := &notificationv1.Receiver{}
	for l.ctx.Err() == nil {
		if err := l.c.Get(l.ctx, client.ObjectKey{Namespace: l.ns, Name: name}, r); err != nil {
			l.Fatal(err)
		}
		if c := apimeta.FindStatusCondition(r.Status.Conditions, meta.ReadyCondition); c != nil && c.Reason == reason && c.ObservedGeneration == r.Generation {
			return r
		}
		time.Sleep(20 * time.Millisecond)
	}
	l.Fatalf("receiver %s never has reason %s: %+v", name, reason, r.Status)
	return nil
}

// call answers with the code, waiting out the moment until the server knows a new path.
func (l *lab) call(method, path, body string, header map[string]string) int {
	l.Helper()
	req, err := http.NewRequestWithContext(l.ctx, method, l.hooks.URL+path, strings.NewReader(body))
	if err != nil {
		l.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		l.Fatal(err)
	}
	resp.Body.Close()
	if resp.ContentLength > 0 && strings.HasPrefix(path, hookPrefix) {
		l.Errorf("%s %s: the answer has a body", method, path)
	}
	return resp.StatusCode
}

// known waits until the server knows a path.
func (l *lab) known(path string) {
	l.Helper()
	for l.ctx.Err() == nil {
		if code := l.call(http.MethodPost, path, strings.Repeat(" ", inbound.MaxBody+1), nil); code == http.StatusRequestEntityTooLarge {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (l *lab) repository(name string, labels map[string]string) {
	l.Helper()
	r := &sourcev1.GitRepository{ObjectMeta: metav1.ObjectMeta{Labels: labels}}
	l.create(r, name, "spec: {interval: 1h, url: 'https://example.com/x', suspend: true}")
}

// source makes a GitRepository with a URL and more of its spec.
func (l *lab) source(name, url, more string) {
	l.Helper()
	l.create(&sourcev1.GitRepository{}, name, "spec: {interval: 1h, url: '"+url+"', suspend: true"+more+"}")
}

// requested tells whether a repository was asked for a reconciliation, and forgets it.
func (l *lab) requested(name string) bool {
	l.Helper()
	r := &sourcev1.GitRepository{}
	if err := l.c.Get(l.ctx, client.ObjectKey{Namespace: l.ns, Name: name}, r); err != nil {
		l.Fatal(err)
	}
	at := r.Annotations[meta.ReconcileRequestAnnotation]
	if at == "" {
		return false
	}
	if !strings.Contains(at, " m=+") {
		l.Errorf("requestedAt is %q", at)
	}
	old := r.DeepCopy()
	delete(r.Annotations, meta.ReconcileRequestAnnotation)
	if err := l.c.Patch(l.ctx, r, client.MergeFrom(old)); err != nil {
		l.Fatal(err)
	}
	return true
}

func hexHMAC(token, body string) string {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(body))
	return hex.EncodeToString(mac.Sum(nil))
}
