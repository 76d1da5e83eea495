package tracker

import (
	"context"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// Key names an owner.
type Key struct{ Namespace, Name string }

// Options configures a Tracker.
type Options struct {
	// Client watches metadata as the controller.
	Client *apply.Client
	// FieldManager, OverrideManagers and OwnerGroup are those with which objects are applied.
	FieldManager     string
	OverrideManagers []string
	OwnerGroup       string
	// Updates says that objects which carry updates of FieldManager, and no apply, were written from the client's side by
	// the owners: their updates are followed.
	Updates bool
	// Notify is called when an owner should run a pass now. It must not block, and may be called
	// again before that pass.
	Notify func(Key)
	// Fight is called, at most once an interval and object, when a manager took a field again after
	// it had been put back; the next correction waits for the interval. It must not block, and not
	// call the Tracker.
	Fight func(Key, Drift)
	// Seen is called when the watch shows another state of an object that the owner holds, its own
	// writes included. It must not block, and not call the Tracker. nil is allowed.
	Seen func(Key, apply.ID)
	// Log is told of kinds that cannot be watched; nil is silent.
	Log func(message string, keysAndValues ...any)
	// MaxWatches bounds the kinds that are watched; 0 means 500. Kinds beyond are looked at with
	// dry-runs.
	MaxWatches int
	// FullPassInterval is how often an owner looks at everything, in step or not; 0 means 24 h.
	FullPassInterval time.Duration
	// Debounce collects changes before an owner is notified; 0 means 100 ms.
	Debounce time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Tracker compares the objects of all owners of one cluster with what a metadata watch shows.
type Tracker struct {
	Options
	ctx  context.Context
	wake chan struct{}

	mu      sync.Mutex
	owners  map[Key]*Owner
	byID    map[apply.ID][]*Owner
	kinds   map[schema.GroupKind]*kind
	pending map[Key]time.Time // when to notify
}

// kind is what is known of the objects of one kind. It is guarded by the Tracker's mutex.
type kind struct {
	users  map[Key]int // owners with objects of the kind, and how many
	stop   context.CancelFunc
	live   map[apply.ID]*live
	listed bool      // live holds all of the first list
	absent bool      // the server does not serve the kind
	upTo   string    // resourceVersion up to which the watch was read
	lost   time.Time // since when there is no watch; zero while there is one
	denied bool      // the controller may not watch it, or there is no room for the watch
}

// lag is how long a watch may be cut before its objects no longer count as in step.
const lag = 30 * time.Second

// New returns a Tracker that works until the context ends.
func New(ctx context.Context, o Options) *Tracker {
	if o.MaxWatches <= 0 {
		o.MaxWatches = 500
	}
	if o.FullPassInterval <= 0 {
		o.FullPassInterval = 24 * time.Hour
	}
	if o.Debounce <= 0 {
		o.Debounce = 100 * time.Millisecond
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	t := &Tracker{
		Options: o, ctx: ctx, wake: make(chan struct{}, 1),
		owners: map[Key]*Owner{}, byID: map[apply.ID][]*Owner{},
		kinds: map[schema.GroupKind]*kind{}, pending: map[Key]time.Time{},
	}
	go t.schedule()
	go t.followCRDs()
	return t
}

// Owner returns the owner with this key, a new one without objects if need be.
func (t *Tracker) Owner(key Key) *Owner {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.owners[key]
	if o == nil {
		o = &Owner{t: t, key: key, objects: map[apply.ID]*object{}, lastFull: t.spread(key)}
		t.owners[key] = o
	}
	return o
}

// Release forgets an owner and its objects.
func (t *Tracker) Release(key Key) {
	t.mu.Lock()
	defer t.mu.Unlock()
	o := t.owners[key]
	if o == nil {
		return
	}
	for id := range o.objects {
		t.dropLocked(o, id)
	}
	delete(t.owners, key)
	delete(t.pending, key)
}

// holdLocked notes that the owner has an object with this id, and follows its kind.
func (t *Tracker) holdLocked(o *Owner, e apply.Entry) *object {
	if obj := o.objects[e.ID]; obj != nil {
		return obj
	}
	ref, ok := e.Ref()
	if !ok || t.owners[o.key] != o { // a job of an owner that was released may still run
		return nil
	}
	obj := &object{kind: ref.GroupKind()}
	o.objects[e.ID] = obj
	t.byID[e.ID] = append(t.byID[e.ID], o)
	k := t.kinds[obj.kind]
	if k == nil {
		k = t.followLocked(ref.GroupVersionKind)
	}
	k.users[o.key]++
	return obj
}

func (t *Tracker) dropLocked(o *Owner, id apply.ID) {
	obj := o.objects[id]
	delete(o.objects, id)
	rest := slices.DeleteFunc(slices.Clone(t.byID[id]), func(other *Owner) bool { return other == o })
	if len(rest) == 0 {
		delete(t.byID, id)
	} else {
		t.byID[id] = rest
	}
	k := t.kinds[obj.kind]
	if k.users[o.key]--; k.users[o.key] <= 0 {
		delete(k.users, o.key)
	}
	if len(k.users) == 0 {
		k.stop()
		delete(t.kinds, obj.kind)
	}
}

// followLocked begins to watch a kind.
func (t *Tracker) followLocked(gvk schema.GroupVersionKind) *kind {
	ctx, stop := context.WithCancel(t.ctx)
	k := &kind{users: map[Key]int{}, stop: stop, live: map[apply.ID]*live{}, lost: t.Now()}
	t.kinds[gvk.GroupKind()] = k
	if len(t.kinds) > t.MaxWatches {
		k.denied = true
		t.log("kind is not watched, its drift is looked for at the interval", "kind", gvk.GroupKind().String(), "reason", "too many kinds")
		return k
	}
	f := &follower{t: t, k: k, gvk: gvk}
	go f.run(ctx)
	return k
}

// saw takes in what the watch shows of an object; obj is nil when it is gone.
func (t *Tracker) saw(k *kind, id apply.ID, obj *metav1.PartialObjectMetadata, version string) {
	now := t.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if newer(version, k.upTo) {
		k.upTo = version
	}
	before := k.live[id]
	if before == nil && obj == nil {
		return
	}
	if obj == nil {
		delete(k.live, id)
	} else {
		l := observe(obj, &t.Options, now)
		k.live[id] = &l
	}
	t.shownLocked(id, before, obj)
}

// shownLocked judges an object after the watch has shown it, or its end, and calls Seen when it is not
// what the watch showed before.
func (t *Tracker) shownLocked(id apply.ID, before *live, now *metav1.PartialObjectMetadata) {
	news := before == nil || now == nil || before.version != now.ResourceVersion
	for _, o := range t.byID[id] {
		if news && t.Seen != nil {
			t.Seen(o.key, id)
		}
		t.reviewLocked(o, id, now)
	}
}

// usable says that the watch of the kind tells the truth of now.
func (k *kind) usable(now time.Time) bool {
	return k.listed && !k.denied && (k.lost.IsZero() || now.Sub(k.lost) < lag)
}

func (t *Tracker) log(message string, keysAndValues ...any) {
	if t.Log != nil {
		t.Log(message, keysAndValues...)
	}
}
