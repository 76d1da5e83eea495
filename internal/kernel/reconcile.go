package kernel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/subject"
)

// Reconcile is one pass. It implements reconcile.Reconciler of controller-runtime.
func (e *engine) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	st := e.states.get(req.NamespacedName)
	obj, err := e.load(ctx, req.NamespacedName, st)
	if apierrors.IsNotFound(err) {
		e.forget(req.NamespacedName)
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("read %s %s from the cache: %w", e.gvk.Kind, req, err)
	}
	if !e.m.process.configs.settled(e.index.of(req.NamespacedName)) {
		return reconcile.Result{RequeueAfter: 100 * time.Millisecond}, nil
	}
	p := e.begin(req.NamespacedName, st, obj, logr.FromContextOrDiscard(ctx))
	ctx, end := e.trace(subject.With(ctx, e.gvk.Kind, req.Namespace, req.Name), "reconcile", p)
	defer end()
	result, err := e.step(ctx, p)
	if errors.Is(err, errGone) {
		// The cache will say so too. If it does not, the answer was not about the object: an API server that changes how it
		// serves a definition answers like this for a moment.
		return reconcile.Result{RequeueAfter: time.Second}, nil
	}
	return result, err
}

// step handles what comes before the kind's own logic.
func (e *engine) step(ctx context.Context, p *pass) (reconcile.Result, error) {
	switch {
	case !p.object.GetDeletionTimestamp().IsZero():
		return e.stepDeleted(ctx, p)
	case e.inert(p.object):
		return e.stepInert(ctx, p)
	case p.object.IsSuspended():
		return e.stepSuspended(ctx, p)
	}
	if err := e.addFinalizer(ctx, p); err != nil {
		return reconcile.Result{}, err
	}
	e.wakeAll(e.index.set(p.name, e.referencesOf(p.object)), TriggerReference, priorityReference)
	o := e.examine(p)
	if o == nil {
		o = e.guard(ctx, p, e.reconcile)
	}
	return e.settle(ctx, p, *o)
}

// load reads the object from the cache, or our own last write where the cache lags behind.
func (e *engine) load(ctx context.Context, name types.NamespacedName, st *state) (meta.Object, error) {
	obj := e.newObject()
	if err := e.objects.Get(ctx, name, obj); err != nil {
		return nil, err
	}
	st.mu.Lock()
	if st.uid != obj.GetUID() || st.rewound {
		st.reset(obj.GetUID())
	}
	st.mu.Unlock()
	return normalizeObject(st.freshest(obj)), nil
}

// normalizeObject maps fields of older API versions to the current ones, on an object of our own.
func normalizeObject(obj meta.Object) meta.Object {
	if legacy, ok := obj.(interface{ Normalize() }); ok {
		legacy.Normalize()
	}
	return obj
}

// forget drops all that the process knows of an object that is no more.
func (e *engine) forget(name types.NamespacedName) {
	e.states.drop(name)
	e.backoff.succeeded(reconcile.Request{NamespacedName: name})
	e.wakeAll(e.index.remove(name), TriggerReference, priorityReference)
	forgetMetrics(e.gvk.Kind, name)
	subject.Gone(e.gvk.Kind, name.Namespace, name.Name)
}

// referencesOf asks the kind; an object that makes it panic reads nothing.
func (e *engine) referencesOf(obj meta.Object) []Reference {
	refs, err := safely(func() ([]Reference, error) { return e.references(obj), nil })
	if err != nil {
		countPanic(e.gvk.Kind)
	}
	return refs
}

// examine returns the outcome where there is no need to ask the kind: fields that cannot be
// read, a forbidden reference, a circle of dependencies, a job that panicked.
func (e *engine) examine(p *pass) *Outcome {
	if err := meta.FieldErrors(p.object); err != nil {
		return outcome(Stalled(meta.FailedReason, fmt.Errorf("the spec cannot be read: %w", err)))
	}
	refs := normalize(p.name, e.referencesOf(p.object))
	for _, ref := range refs {
		if err := e.m.CheckNamespace(p.name.Namespace, ref); ref.Restricted && err != nil {
			return outcome(Stalled(meta.AccessDeniedReason, err).KeepObservedGeneration())
		}
	}
	if circle := e.index.cycle(p.name); circle != nil {
		return outcome(Stalled(meta.DependencyNotReadyReason, circleError(circle, e.dependsField)))
	}
	if p.job != nil {
		if panicked, ok := isPanic(p.job.Err); ok {
			return e.panicked(p, panicked)
		}
	}
	return nil
}

func outcome(o Outcome) *Outcome { return &o }

func circleError(circle []types.NamespacedName, field string) error {
	names := make([]string, len(circle))
	for i, n := range circle {
		names[i] = n.String()
	}
	return fmt.Errorf("circular dependency detected: %s; remove one of these entries of %s", strings.Join(names, " -> "), field)
}

// guard calls the kind; a panic becomes a failure of this object alone.
func (e *engine) guard(ctx context.Context, p *pass, f func(context.Context, *pass) Outcome) *Outcome {
	if limit := p.object.GetTimeout(); limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	o, err := safely(func() (Outcome, error) { return f(ctx, p), nil })
	if panicked, ok := isPanic(err); ok {
		p.object = p.base.DeepCopyObject().(meta.Object)
		return e.panicked(p, panicked)
	}
	return &o
}

func (e *engine) panicked(p *pass, err *PanicError) *Outcome {
	countPanic(e.gvk.Kind)
	p.log.Error(err, "Observed a panic", "stacktrace", string(err.Stack))
	return outcome(Failed(meta.FailedReason, err).Backoff())
}

// stepSuspended ends what is under way and answers a request by annotation; no verdict follows.
func (e *engine) stepSuspended(ctx context.Context, p *pass) (reconcile.Result, error) {
	p.st.mu.Lock()
	p.st.supersede()
	p.st.result = p.job
	before, interrupted := p.attempt.before, !p.attempt.flushed.IsZero()
	p.st.closeAttempt()
	p.st.mu.Unlock()
	p.log.Info(e.suspended)
	_, err := e.write(ctx, p.st, p.base, func(latest meta.Object) meta.Object {
		out := latest.DeepCopyObject().(meta.Object)
		answer(out, requestOf(latest))
		if interrupted {
			removeCondition(out, meta.ReconcilingCondition)
			if before != nil {
				restoreCondition(out, *before)
			}
		}
		return out
	})
	return reconcile.Result{}, err
}

// stepDeleted cleans up and lets the object go.
func (e *engine) stepDeleted(ctx context.Context, p *pass) (reconcile.Result, error) {
	if !slices.Contains(p.object.GetFinalizers(), e.finalizer) {
		e.forget(p.name)
		return reconcile.Result{}, nil
	}
	p.st.mu.Lock()
	busy := p.st.job != nil && !p.st.job.finalizing
	if busy {
		p.st.supersede()
	}
	p.st.mu.Unlock()
	if busy {
		return reconcile.Result{}, nil // the job's end wakes the object
	}
	o := e.guard(ctx, p, e.finalize)
	if o.Verdict != VerdictDone {
		return e.settle(ctx, p, *o)
	}
	for _, ev := range o.Events {
		e.emit(p.object, ev)
	}
	if err := e.removeFinalizer(ctx, p); err != nil {
		return reconcile.Result{}, err
	}
	e.forget(p.name)
	return reconcile.Result{}, nil
}
