package kernel

import (
	"cmp"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gitops-toolkit/flux/api/meta"
)

// Priorities in the queue; periodic work is what is left.
const (
	priorityPeriodic  = -100
	priorityReference = 50
	priorityUrgent    = 100
)

// engine is the reconciler of one kind, freed of its type parameter.
type engine struct {
	m         *Manager
	gvk       schema.GroupVersionKind
	finalizer string
	// owned are the condition types that the kind writes, the kernel's three included.
	owned     map[string]bool
	triggers  []string
	referents []Referent
	suspended string
	// dependsField is where circles of dependencies are made.
	dependsField string

	newObject  func() meta.Object
	describe   func(meta.Object) description
	references func(meta.Object) []Reference
	reconcile  func(context.Context, *pass) Outcome
	finalize   func(context.Context, *pass) Outcome
	inert      func(meta.Object) bool
	attempt    func(meta.Object) string

	states  states
	index   *index
	backoff *backoff
	// objects is the cache that holds the objects of this shard.
	objects cache.Cache
	queue   atomic.Pointer[priorityqueue.PriorityQueue[reconcile.Request]]
}

func newEngine[T meta.Object](m *Manager, kind Kind[T], r Reconciler[T]) (*engine, error) {
	if kind.New == nil || kind.GroupVersionKind.Kind == "" {
		return nil, fmt.Errorf("register a kind with %s: GroupVersionKind and New are required", m.name)
	}
	e := &engine{
		m: m, gvk: kind.GroupVersionKind, finalizer: kind.Finalizer, suspended: kind.SuspendedMessage,
		dependsField: cmp.Or(kind.DependsField, "spec.dependsOn"),
		referents:    kind.Referents,
		triggers:     append([]string{meta.ReconcileRequestAnnotation}, kind.Annotations...),
		owned:        map[string]bool{meta.ReadyCondition: true, meta.ReconcilingCondition: true, meta.StalledCondition: true},
		newObject:    func() meta.Object { return kind.New() },
		describe:     func(o meta.Object) description { return describe(o.(T), kind.Publish) },
		references:   func(o meta.Object) []Reference { return r.References(o.(T)) },
		index:        newIndex(kind.GroupVersionKind.Group, kind.GroupVersionKind.Kind),
	}
	e.backoff = newBackoff(m.settings.MinRetryDelay, m.settings.MaxRetryDelay, func(r reconcile.Request) time.Duration {
		return jitter(e.states.get(r.NamespacedName).schedule(), m.settings.IntervalJitterPercentage)
	})
	for _, c := range kind.Conditions {
		e.owned[c] = true
	}
	if e.finalizer == "" {
		e.finalizer = meta.Finalizer
	}
	if e.suspended == "" {
		e.suspended = "Reconciliation is suspended for this object"
	}
	e.reconcile = func(ctx context.Context, p *pass) Outcome { return call(ctx, p, r.Reconcile) }
	e.finalize = func(ctx context.Context, p *pass) Outcome { return call(ctx, p, r.Finalize) }
	e.inert = func(o meta.Object) bool { return kind.Inert != nil && kind.Inert(o.(T)) }
	e.attempt = func(o meta.Object) string {
		if kind.Attempt == nil {
			return ""
		}
		return kind.Attempt(o.(T))
	}
	m.process.strip(kind.New(), m.settings.WatchLabelSelector != "", stripper(kind.Strip))
	for _, ref := range kind.Referents {
		m.process.strip(ref.newObject(), true, ref.strip)
	}
	return e, nil
}

// call runs the kind's function and takes back the keys that it gave its logger.
func call[T meta.Object](ctx context.Context, p *pass, f func(context.Context, *Request[T]) Outcome) Outcome {
	req := &Request[T]{
		Object: p.object.(T), Log: p.log, Trigger: p.trigger, Job: p.job, Running: p.running,
		Started: p.started, host: p,
	}
	o := f(logr.NewContext(ctx, p.log), req)
	p.log = req.Log
	return o
}

// wake puts an object into the queue.
func (e *engine) wake(name types.NamespacedName, t Trigger, priority int) {
	q := e.queue.Load()
	if q == nil {
		return
	}
	st := e.states.get(name)
	st.mu.Lock()
	st.trigger |= t
	st.mu.Unlock()
	(*q).AddWithOpts(priorityqueue.AddOpts{Priority: &priority}, reconcile.Request{NamespacedName: name})
}

func (e *engine) wakeAll(names []types.NamespacedName, t Trigger, priority int) {
	for _, name := range names {
		e.wake(name, t, priority)
	}
}
