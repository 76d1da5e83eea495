package kerneltest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/go-logr/logr"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/testenv"
)

// Limit is how long a lab waits for what has to come.
const Limit = 30 * time.Second

// Script is a Reconciler whose functions a test writes. A nil function does what its comment says.
type Script struct {
	// OnReconcile, nil: Done.
	OnReconcile func(ctx context.Context, req *kernel.Request[*Probe]) kernel.Outcome
	// OnFinalize, nil: Done.
	OnFinalize func(ctx context.Context, req *kernel.Request[*Probe]) kernel.Outcome
	// OnReferences, nil: Probe.References.
	OnReferences func(*Probe) []kernel.Reference
}

// References implements kernel.Reconciler.
func (s *Script) References(p *Probe) []kernel.Reference {
	if s.OnReferences != nil {
		return s.OnReferences(p)
	}
	return p.References()
}

// Reconcile implements kernel.Reconciler.
func (s *Script) Reconcile(ctx context.Context, req *kernel.Request[*Probe]) kernel.Outcome {
	if s.OnReconcile != nil {
		return s.OnReconcile(ctx, req)
	}
	return kernel.Done(meta.SucceededReason, "done")
}

// Finalize implements kernel.Reconciler.
func (s *Script) Finalize(ctx context.Context, req *kernel.Request[*Probe]) kernel.Outcome {
	if s.OnFinalize != nil {
		return s.OnFinalize(ctx, req)
	}
	return kernel.Done("", "")
}

// Kind describes the test kind.
func Kind() kernel.Kind[*Probe] {
	return kernel.Kind[*Probe]{
		GroupVersionKind: GroupVersion.WithKind("Probe"),
		New:              func() *Probe { return &Probe{} },
		Conditions:       []string{meta.HealthyCondition},
		Publish:          func(p *Probe) kernel.Published { return kernel.Published{Revision: p.Status.Revision} },
	}
}

// Lab is a namespace on the test's API server in which controllers of the test kind run. It
// records every state of every probe that the API server shows.
type Lab struct {
	T         testing.TB
	Namespace string
	Client    client.WithWatch
	Config    *rest.Config

	mu      sync.Mutex
	changed chan struct{}
	history map[string][]*Probe
}

// NewLab makes a lab; without an API server the test is skipped.
func NewLab(t testing.TB) *Lab {
	t.Helper()
	config := testenv.Config(t)
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	defer cancel()
	if err := install(ctx, config); err != nil {
		t.Fatal(err)
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: Scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	l := &Lab{T: t, Namespace: testenv.Namespace(t), Client: c, Config: config, changed: make(chan struct{}), history: map[string][]*Probe{}}
	t.Cleanup(l.letGo)
	l.record()
	return l
}

// Scheme knows the test kind and what the kernel needs.
func Scheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	if err := errors.Join(addToScheme(s), corev1.AddToScheme(s)); err != nil {
		t.Fatal(err)
	}
	return s
}

// Start runs a controller of the test kind in the lab until the test ends or the returned
// function is called; the function waits for the end and returns the process's error.
func (l *Lab) Start(s kernel.Reconciler[*Probe], change ...func(*kernel.Settings)) (stop func() error) {
	l.T.Helper()
	settings := kernel.Defaults()
	settings.RuntimeNamespace, settings.IntervalJitterPercentage = l.Namespace, 0
	settings.GracefulShutdownTimeout = 5 * time.Second
	for _, f := range change {
		f(&settings)
	}
	process, err := kernel.NewProcess(l.Config, kernel.ProcessOptions{
		Scheme: Scheme(l.T), MetricsAddr: "0", HealthAddr: "0", WatchNamespace: l.Namespace, Log: logr.Discard(),
		GracefulShutdownTimeout: settings.GracefulShutdownTimeout,
	})
	if err != nil {
		l.T.Fatal(err)
	}
	if err := kernel.Register(process.Controller("probe-controller", settings), Kind(), s); err != nil {
		l.T.Fatal(err)
	}
	return l.Run(process)
}

// Run runs a process until the test ends or the returned function is called.
func (l *Lab) Run(process *kernel.Process) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- process.Run(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() { cancel(); err = <-ended })
		return err
	}
	l.T.Cleanup(func() {
		if err := stop(); err != nil {
			l.T.Logf("the controller stopped: %v", err)
		}
	})
	return stop
}

// Create creates a probe; change may edit it before.
func (l *Lab) Create(name string, change ...func(*Probe)) *Probe {
	l.T.Helper()
	p := &Probe{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: l.Namespace}}
	p.Spec.Interval = meta.NewDuration(time.Hour)
	for _, f := range change {
		f(p)
	}
	if err := l.Client.Create(context.Background(), p); err != nil {
		l.T.Fatal(err)
	}
	return p
}

// Update changes a probe as a person would, whatever else changes meanwhile.
func (l *Lab) Update(name string, change func(*Probe)) {
	l.T.Helper()
	p := &Probe{}
	if err := l.Client.Get(context.Background(), client.ObjectKey{Namespace: l.Namespace, Name: name}, p); err != nil {
		l.T.Fatal(err)
	}
	old := p.DeepCopy()
	change(p)
	if err := l.Client.Patch(context.Background(), p, client.MergeFrom(old)); err != nil {
		l.T.Fatal(err)
	}
}

// Request asks for a reconciliation by annotation.
func (l *Lab) Request(name, token string) {
	l.T.Helper()
	l.Update(name, func(p *Probe) { metav1.SetMetaDataAnnotation(&p.ObjectMeta, meta.ReconcileRequestAnnotation, token) })
}

// Delete deletes a probe.
func (l *Lab) Delete(name string) {
	l.T.Helper()
	p := &Probe{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: l.Namespace}}
	if err := l.Client.Delete(context.Background(), p); err != nil {
		l.T.Fatal(err)
	}
}

// Until waits until a probe is as wanted and returns it; nil stands for a deleted one.
func (l *Lab) Until(name, what string, wanted func(*Probe) bool) *Probe {
	l.T.Helper()
	timeout := time.After(Limit)
	for {
		l.mu.Lock()
		h, changed := l.history[name], l.changed
		l.mu.Unlock()
		if len(h) > 0 && wanted(h[len(h)-1]) {
			return h[len(h)-1]
		}
		select {
		case <-changed:
		case <-timeout:
			var last *Probe
			if len(h) > 0 {
				last = h[len(h)-1]
			}
			l.T.Fatalf("waited %s for %s to be %s; it is %+v", Limit, name, what, last)
		}
	}
}

// Gone waits until a probe is deleted.
func (l *Lab) Gone(name string) {
	l.T.Helper()
	l.Until(name, "deleted", func(p *Probe) bool { return p == nil })
}

// Ready waits until Ready has a status with a reason for the current generation.
func (l *Lab) Ready(name string, status metav1.ConditionStatus, reason string) *Probe {
	l.T.Helper()
	return l.Until(name, "Ready="+string(status)+" "+reason, func(p *Probe) bool {
		if p == nil {
			return false
		}
		c := p.Status.Conditions.Get(meta.ReadyCondition)
		return c != nil && c.Status == status && c.Reason == reason && c.ObservedGeneration == p.Generation
	})
}

// History returns every state of a probe that was seen, in order.
func (l *Lab) History(name string) []*Probe {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*Probe(nil), l.history[name]...)
}

// letGo removes finalizers that a stopped controller left, so that the namespace can go.
func (l *Lab) letGo() {
	list := &ProbeList{}
	if err := l.Client.List(context.Background(), list, client.InNamespace(l.Namespace)); err != nil {
		return
	}
	for i := range list.Items {
		p := &list.Items[i]
		old := p.DeepCopy()
		p.Finalizers = nil
		_ = l.Client.Patch(context.Background(), p, client.MergeFrom(old))
	}
}
