package kernel

import (
	"context"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/go-logr/logr"

	"github.com/gitops-toolkit/flux/api/meta"
)

type workQueue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// controller assembles queue, workers and watches of the kind from controller-runtime's parts.
func (e *engine) controller() (controller.Controller, error) {
	name, no := strings.ToLower(e.gvk.Kind), false
	skip := true
	c, err := controller.NewUnmanaged(name, controller.Options{
		SkipNameValidation: &skip, NeedLeaderElection: &no, MaxConcurrentReconciles: e.m.settings.Concurrent,
		Reconciler: e, RateLimiter: e.backoff, LogConstructor: e.logger,
		NewQueue: func(name string, limiter workqueue.TypedRateLimiter[reconcile.Request]) workQueue {
			q := priorityqueue.New(name, func(o *priorityqueue.Opts[reconcile.Request]) { o.RateLimiter = limiter })
			e.queue.Store(&q)
			return q
		},
	})
	if err != nil {
		return nil, err
	}
	shared := e.m.process.manager.GetCache()
	sharded := e.objects != shared
	sources := []source.Source{source.Kind[client.Object](e.objects, e.newObject(), e.objectHandler(!sharded))}
	if sharded {
		sources = append(sources, source.Kind[client.Object](shared, e.newObject(), e.siblingHandler()))
	}
	for _, ref := range e.referents {
		if ref.GroupVersionKind.GroupKind() != e.gvk.GroupKind() {
			sources = append(sources, source.Kind[client.Object](shared, ref.newObject(), e.referentHandler(ref.GroupVersionKind.Group, ref.GroupVersionKind.Kind, ref.describe)))
		}
	}
	for _, s := range sources {
		if err := c.Watch(s); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// logger gives every line of the kind its keys.
func (e *engine) logger(req *reconcile.Request) logr.Logger {
	log := e.m.process.options.Log.WithValues("controller", strings.ToLower(e.gvk.Kind),
		"controllerGroup", e.gvk.Group, "controllerKind", e.gvk.Kind)
	if req == nil {
		return log
	}
	return log.WithValues(e.gvk.Kind, klog.KRef(req.Namespace, req.Name), "namespace", req.Namespace, "name", req.Name)
}

// objectHandler follows the objects of this shard. When there is but one shard, they are the
// referents of each other as well.
func (e *engine) objectHandler(alsoReferents bool) handler.EventHandler {
	siblings := e.siblingHandler()
	if !alsoReferents {
		siblings = handler.Funcs{}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, ev event.CreateEvent, q workQueue) {
			siblings.Create(ctx, ev, q)
			obj := ev.Object.(meta.Object)
			priority := priorityUrgent
			if ev.IsInInitialList && settledBefore(obj) {
				priority = priorityPeriodic
			}
			e.wake(client.ObjectKeyFromObject(obj), TriggerNew, priority)
		},
		UpdateFunc: func(ctx context.Context, ev event.UpdateEvent, q workQueue) {
			siblings.Update(ctx, ev, q)
			old, now := ev.ObjectOld.(meta.Object), ev.ObjectNew.(meta.Object)
			e.states.seen(client.ObjectKeyFromObject(now), now)
			t := e.asked(old, now)
			if newer(old.GetResourceVersion(), now.GetResourceVersion()) {
				// The API server was set back: what we remember of the object is of another time.
				e.states.rewind(client.ObjectKeyFromObject(now))
				t |= TriggerNew
			}
			if t != 0 {
				e.wake(client.ObjectKeyFromObject(now), t, priorityUrgent)
			}
		},
		DeleteFunc: func(ctx context.Context, ev event.DeleteEvent, q workQueue) {
			siblings.Delete(ctx, ev, q)
			e.wake(client.ObjectKeyFromObject(ev.Object), TriggerSpec, priorityUrgent)
		},
	}
}

// settledBefore tells whether an object that is there at start has no open question.
func settledBefore(obj meta.Object) bool {
	return obj.GetDeletionTimestamp().IsZero() && obj.GetGeneration() == obj.GetObservedGeneration() && pendingRequest(obj) == ""
}

// asked tells whether an update of an object is one that asks for a pass.
func (e *engine) asked(old, now meta.Object) Trigger {
	var t Trigger
	if old.GetGeneration() != now.GetGeneration() || old.GetUID() != now.GetUID() ||
		old.GetDeletionTimestamp().IsZero() != now.GetDeletionTimestamp().IsZero() {
		t |= TriggerSpec
	}
	for _, key := range e.triggers {
		if old.GetAnnotations()[key] != now.GetAnnotations()[key] {
			t |= TriggerRequested
		}
	}
	return t
}

// siblingHandler follows the objects of the kind in all shards: as referrers for the index, and
// as referents of each other.
func (e *engine) siblingHandler() handler.EventHandler {
	referents := e.referentHandler(e.gvk.Group, e.gvk.Kind, func(o client.Object) description { return e.describe(o.(meta.Object)) })
	learn := func(o client.Object) {
		e.wakeAll(e.index.set(client.ObjectKeyFromObject(o), e.referencesOf(o.(meta.Object))), TriggerReference, priorityReference)
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, ev event.CreateEvent, q workQueue) {
			learn(ev.Object)
			referents.Create(ctx, ev, q)
		},
		UpdateFunc: func(ctx context.Context, ev event.UpdateEvent, q workQueue) {
			learn(ev.ObjectNew)
			referents.Update(ctx, ev, q)
		},
		DeleteFunc: func(ctx context.Context, ev event.DeleteEvent, q workQueue) {
			e.wakeAll(e.index.remove(client.ObjectKeyFromObject(ev.Object)), TriggerReference, priorityReference)
			referents.Delete(ctx, ev, q)
		},
	}
}

// referentHandler wakes the referrers of an object when it changes in a way that matters to them.
func (e *engine) referentHandler(group, kind string, describe func(client.Object) description) handler.EventHandler {
	wake := func(o client.Object, c Change) {
		k := refKey{group: group, kind: kind, NamespacedName: client.ObjectKeyFromObject(o)}
		e.wakeAll(e.index.referrers(k, c), TriggerReference, priorityReference)
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, ev event.CreateEvent, _ workQueue) {
			if !ev.IsInInitialList {
				wake(ev.Object, OnAny)
			}
		},
		UpdateFunc: func(_ context.Context, ev event.UpdateEvent, _ workQueue) {
			if ev.ObjectOld.GetUID() != ev.ObjectNew.GetUID() {
				wake(ev.ObjectNew, OnAny)
			} else if c := describe(ev.ObjectOld).changes(describe(ev.ObjectNew)); c != 0 {
				wake(ev.ObjectNew, c)
			}
		},
		DeleteFunc: func(_ context.Context, ev event.DeleteEvent, _ workQueue) { wake(ev.Object, OnAny) },
	}
}

// followConfigs wakes referrers at once when a ConfigMap or Secret appears, for which they may be waiting, and when one
// changes or goes away that the selector selects, before or after.
func (e *engine) followConfigs(selector labels.Selector) {
	e.m.process.configs.listen(selector, func(k refKey, old, now labels.Set) {
		if old == nil || selector.Matches(old) || now != nil && selector.Matches(now) {
			e.wakeAll(e.index.referrers(k, OnAny), TriggerReference, priorityReference)
		}
	})
}
