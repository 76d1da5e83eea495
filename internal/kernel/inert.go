package kernel

import (
	"context"
	"reflect"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gitops-toolkit/flux/api/meta"
)

// stepInert leaves an object alone that is only data, but for what is left from a time when it was more.
func (e *engine) stepInert(ctx context.Context, p *pass) (reconcile.Result, error) {
	e.wakeAll(e.index.remove(p.name), TriggerReference, priorityReference)
	p.st.mu.Lock()
	p.st.supersede()
	busy := p.st.job != nil
	p.st.mu.Unlock()
	if busy {
		return reconcile.Result{}, nil // the job's end wakes the object
	}
	if slices.Contains(p.object.GetFinalizers(), e.finalizer) {
		if o := e.guard(ctx, p, e.finalize); o.Verdict != VerdictDone {
			return e.settle(ctx, p, *o)
		}
		if err := e.removeFinalizer(ctx, p); err != nil {
			return reconcile.Result{}, err
		}
	}
	p.st.mu.Lock()
	p.st.closeAttempt()
	p.st.memory, p.st.result = nil, nil
	p.st.mu.Unlock()
	_, err := e.write(ctx, p.st, p.base, func(latest meta.Object) meta.Object {
		out := latest.DeepCopyObject().(meta.Object)
		reflect.Indirect(reflect.ValueOf(out)).FieldByName("Status").SetZero()
		return out
	})
	return reconcile.Result{}, err
}
