package notify

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/notify/alert"
	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// followIdle is how long a kind is still followed when nothing of it is known to fail any more.
const followIdle = 10 * time.Minute

// recoveries finds out that objects which are known to fail work again, or are gone, where no event says so: a
// release whose failed change is taken back needs no action, and what is deleted says nothing. It follows only the
// kinds of which an object fails that somebody was told of, and keeps of each object its condition Ready.
type recoveries struct {
	m    *kernel.Manager
	wake chan struct{}
	// resolve tells the Alert; false: it must wait.
	resolve func(ctx context.Context, alert types.NamespacedName, e *event.Event) bool
	log     logr.Logger
	kinds   map[schema.GroupVersionKind]*followed
}

func newRecoveries(m *kernel.Manager, wake chan struct{}, resolve func(context.Context, types.NamespacedName, *event.Event) bool, log logr.Logger) *recoveries {
	return &recoveries{m: m, wake: wake, resolve: resolve, log: log, kinds: map[schema.GroupVersionKind]*followed{}}
}

// followed is a kind whose objects are followed.
type followed struct {
	informer cache.SharedIndexInformer
	end      context.CancelFunc
	needed   time.Time

	mu sync.Mutex
	// wanted are the objects that fail; of these, gone are those that were seen to be deleted.
	wanted, gone map[types.NamespacedName]bool
}

// look tells of the objects among the failing that work again, and returns when to look again at the latest; zero:
// when something happens.
func (r *recoveries) look(ctx context.Context, failing []alert.Failing, now time.Time) (next time.Time) {
	byKind := map[schema.GroupVersionKind]map[types.NamespacedName][]alert.Failing{}
	for _, f := range failing {
		o := f.Event.InvolvedObject
		kind := schema.FromAPIVersionAndKind(o.APIVersion, o.Kind)
		if !strings.HasSuffix(kind.Group, ".fluxcd.io") {
			continue // not one of those that Alerts are about
		}
		if byKind[kind] == nil {
			byKind[kind] = map[types.NamespacedName][]alert.Failing{}
		}
		name := types.NamespacedName{Namespace: o.Namespace, Name: o.Name}
		byKind[kind][name] = append(byKind[kind][name], f)
	}
	r.drop(now, byKind)
	for kind, objects := range byKind {
		f := r.follow(ctx, kind, objects, now)
		if f == nil || !f.informer.HasSynced() {
			continue
		}
		for name, known := range objects {
			next = earliest(next, r.judge(ctx, f, name, known, now))
		}
	}
	return next
}

// judge looks at one object, for all Alerts that know of its failure.
func (r *recoveries) judge(ctx context.Context, f *followed, name types.NamespacedName, known []alert.Failing, now time.Time) (next time.Time) {
	state, gone := f.state(name)
	told := map[types.NamespacedName]bool{}
	for _, one := range known {
		if told[one.Alert] {
			continue // by transitions and by mail
		}
		over, again := state.over(one.At, now, gone)
		if !over {
			next = earliest(next, again)
			continue
		}
		told[one.Alert] = true
		reason, message, revision := state.words()
		if !r.resolve(ctx, one.Alert, one.Event.Recovered(now, reason, message, revision)) {
			next = earliest(next, now.Add(time.Minute))
		}
	}
	return next
}

// drop stops following kinds of which nothing has failed for a while.
func (r *recoveries) drop(now time.Time, needed map[schema.GroupVersionKind]map[types.NamespacedName][]alert.Failing) {
	for kind, f := range r.kinds {
		if needed[kind] == nil && now.Sub(f.needed) > followIdle {
			f.end()
			delete(r.kinds, kind)
		}
	}
}

// stop ends all watches.
func (r *recoveries) stop() {
	for kind, f := range r.kinds {
		f.end()
		delete(r.kinds, kind)
	}
}

// follow returns what is known of a kind, nil while that cannot be known.
func (r *recoveries) follow(ctx context.Context, kind schema.GroupVersionKind, objects map[types.NamespacedName][]alert.Failing, now time.Time) *followed {
	f := r.kinds[kind]
	if f == nil {
		if f = r.begin(ctx, kind); f == nil {
			return nil
		}
		r.kinds[kind] = f
	}
	f.needed = now
	f.want(objects)
	return f
}

func (r *recoveries) begin(ctx context.Context, kind schema.GroupVersionKind) *followed {
	mapping, err := r.m.Mapper().RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil // not served (any more); the next look tries again
	}
	client, err := dynamic.NewForConfig(r.m.WatchConfig())
	if err != nil {
		return nil
	}
	f := &followed{
		informer: dynamicinformer.NewFilteredDynamicInformer(client, mapping.Resource, r.m.WatchNamespace(), 0, cache.Indexers{}, nil).Informer(),
		wanted:   map[types.NamespacedName]bool{}, gone: map[types.NamespacedName]bool{},
	}
	if f.informer.SetTransform(toReadiness) != nil || f.informer.SetWatchErrorHandlerWithContext(r.failed(kind)) != nil {
		return nil
	}
	if _, err := f.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { f.saw(obj, false, r.wake) },
		UpdateFunc: func(_, obj any) { f.saw(obj, false, r.wake) },
		DeleteFunc: func(obj any) { f.saw(obj, true, r.wake) },
	}); err != nil {
		return nil
	}
	ctx, f.end = context.WithCancel(ctx)
	go f.informer.RunWithContext(ctx)
	go func() {
		if cache.WaitForCacheSync(ctx.Done(), f.informer.HasSynced) {
			poke(r.wake)
		}
	}()
	return f
}

// failed logs why a kind cannot be followed, a lack of rights once.
func (r *recoveries) failed(kind schema.GroupVersionKind) cache.WatchErrorHandlerWithContext {
	var once sync.Once
	return func(_ context.Context, _ *cache.Reflector, err error) {
		if apierrors.IsForbidden(err) {
			once.Do(func() {
				r.log.Error(err, "the end of failures is told by events only: let the controller list and watch the kind", "kind", kind.Kind)
			})
			return
		}
		r.log.V(1).Info("the watch of objects that fail was interrupted", "kind", kind.Kind, "cause", err.Error())
	}
}

// want sets the objects that are looked for.
func (f *followed) want(objects map[types.NamespacedName][]alert.Failing) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wanted = make(map[types.NamespacedName]bool, len(objects))
	for name := range objects {
		f.wanted[name] = true
	}
	for name := range f.gone {
		if !f.wanted[name] {
			delete(f.gone, name)
		}
	}
}

// saw notes what a watch says of an object, and wakes who waits for it.
func (f *followed) saw(obj any, gone bool, wake chan struct{}) {
	if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = last.Obj
	}
	r, ok := obj.(*readiness)
	if !ok {
		return
	}
	name := types.NamespacedName{Namespace: r.Namespace, Name: r.Name}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.wanted[name] {
		return
	}
	delete(f.gone, name)
	if gone {
		f.gone[name] = true
	}
	poke(wake)
}

// state returns what is known of an object, nil if it is not there, and whether it was seen to go.
func (f *followed) state(name types.NamespacedName) (state *readiness, gone bool) {
	if obj, exists, err := f.informer.GetStore().GetByKey(name.String()); err == nil && exists {
		state, _ = obj.(*readiness)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return state, f.gone[name]
}
