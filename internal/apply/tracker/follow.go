package tracker

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// follower keeps the metadata watch of one kind open.
type follower struct {
	t   *Tracker
	k   *kind
	gvk schema.GroupVersionKind
	// failures and refusals count what went wrong since a watch was last open, refusals in a row.
	failures, refusals int
}

// errRelist says that the watch cannot go on from where it was.
var errRelist = errors.New("list again")

func (f *follower) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := f.listAndWatch(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil || errors.Is(err, errRelist) {
			sleep(ctx, 100*time.Millisecond)
			continue
		}
		f.cut(err)
		sleep(ctx, f.backoff())
	}
}

// backoff grows from half a second to half a minute, for a kind that is refused to a minute.
func (f *follower) backoff() time.Duration {
	if f.refusals > 0 {
		return refusedFor(f.refusals, time.Minute)
	}
	d := min(500*time.Millisecond<<min(f.failures-1, 6), 30*time.Second)
	return d/2 + rand.N(d/2)
}

// refusedFor is how long to wait after so many refusals in a row: two seconds and soon the most, as an
// API server that starts refuses for a moment what it will allow.
func refusedFor(refusals int, most time.Duration) time.Duration {
	return min(2*time.Second<<min(2*(refusals-1), 10), most)
}

func denied(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsMethodNotSupported(err)
}

func (f *follower) listAndWatch(ctx context.Context) error {
	m, err := f.t.Client.Mapper().ForKind(ctx, f.gvk)
	if meta.IsNoMatchError(err) {
		// The kind is gone and its objects with it; it may come back.
		f.vanished()
		return err
	}
	if err != nil {
		return err
	}
	r := f.t.Client.Metadata().Resource(m.Resource)
	version, err := f.list(ctx, r)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		if version, err = f.watch(ctx, r, version); err != nil {
			return err
		}
	}
	return nil
}

// selector chooses objects that anybody of our group owns.
func (f *follower) selector() string { return f.t.OwnerGroup + "/name" }

func (f *follower) list(ctx context.Context, r metadata.Getter) (version string, err error) {
	began := f.t.Now()
	var items []metav1.PartialObjectMetadata
	opts := metav1.ListOptions{LabelSelector: f.selector(), Limit: 500}
	for {
		page, err := r.List(ctx, opts)
		if err != nil {
			return "", err
		}
		items = append(items, page.Items...)
		version = page.ResourceVersion
		if opts.Continue = page.Continue; opts.Continue == "" {
			break
		}
	}
	f.replaceSince(items, version, began)
	return version, nil
}

// watch follows changes until the server ends the watch, and returns from where to go on.
func (f *follower) watch(ctx context.Context, r metadata.Getter, version string) (string, error) {
	timeout := int64(300 + rand.N(300))
	in, err := r.Watch(ctx, metav1.ListOptions{
		LabelSelector: f.selector(), ResourceVersion: version, AllowWatchBookmarks: true, TimeoutSeconds: &timeout,
	})
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return "", errRelist
	}
	if err != nil {
		return "", err
	}
	defer in.Stop()
	f.open()
	for {
		select {
		case <-ctx.Done():
			return version, nil
		case e, ok := <-in.ResultChan():
			if !ok {
				f.lose()
				return version, nil
			}
			if e.Type == watch.Error {
				return "", errRelist
			}
			if obj, ok := e.Object.(*metav1.PartialObjectMetadata); ok {
				version = obj.ResourceVersion
				f.event(e.Type, obj)
			}
		}
	}
}

func (f *follower) event(kind watch.EventType, obj *metav1.PartialObjectMetadata) {
	switch kind {
	case watch.Bookmark:
		f.t.mu.Lock()
		f.k.upTo = obj.ResourceVersion
		f.t.mu.Unlock()
	case watch.Deleted:
		f.t.saw(f.k, f.id(obj), nil, obj.ResourceVersion)
	default:
		f.t.saw(f.k, f.id(obj), obj, obj.ResourceVersion)
	}
}

func (f *follower) id(obj metav1.Object) apply.ID {
	return apply.NewID(obj.GetNamespace(), obj.GetName(), f.gvk.Group, f.gvk.Kind)
}

// replaceSince takes in a whole list. A list that is older than one of our own writes before it
// began, or that has an object as it was before, can only come from a server that was set back: all
// records of the kind are then void. The version of the list alone does not tell, as the server may
// have grown past what it was.
func (f *follower) replaceSince(items []metav1.PartialObjectMetadata, version string, began time.Time) {
	shown := make(map[apply.ID]string, len(items))
	for i := range items {
		shown[f.id(&items[i])] = items[i].ResourceVersion
	}
	f.t.mu.Lock()
	back := false
	for id, l := range f.k.live {
		back = back || shown[id] != "" && newer(l.version, shown[id])
	}
	for key := range f.k.users {
		for id, obj := range f.t.owners[key].objects {
			if obj.kind != f.gvk.GroupKind() || obj.record == nil || obj.record.At.IsZero() || !obj.record.At.Before(began) {
				continue
			}
			if v := obj.record.ResourceVersion; newer(v, version) || shown[id] != "" && newer(v, shown[id]) {
				back = true
			}
		}
	}
	back = back || newer(f.k.upTo, version)
	if back {
		f.voidLocked()
	}
	f.t.mu.Unlock()
	f.replace(items, version)
}

// voidLocked forgets the records of the kind and has their owners look.
func (f *follower) voidLocked() {
	for key := range f.k.users {
		o := f.t.owners[key]
		for _, obj := range o.objects {
			if obj.kind == f.gvk.GroupKind() {
				obj.record, obj.drift = nil, nil
			}
		}
		f.t.notifyLocked(key, f.t.Now().Add(f.t.Debounce))
	}
	f.k.upTo = ""
}

// replace makes the items all that there is of the kind. It does so in one step: whoever is asked
// meanwhile would miss objects that are not taken in yet, and think them gone.
func (f *follower) replace(items []metav1.PartialObjectMetadata, version string) {
	now := f.t.Now()
	all := make(map[apply.ID]*live, len(items))
	for i := range items {
		l := observe(&items[i], &f.t.Options, now)
		all[f.id(&items[i])] = &l
	}
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	if f.k.denied {
		f.t.log("kind is watched again", "kind", f.gvk.GroupKind().String())
	}
	first, before := !f.k.listed, f.k.live
	f.k.live, f.k.upTo = all, version
	f.k.listed, f.k.denied, f.k.absent = true, false, false
	for i := range items {
		id := f.id(&items[i])
		f.t.shownLocked(id, before[id], &items[i])
	}
	for id, l := range before {
		if all[id] == nil {
			f.t.shownLocked(id, l, nil)
		}
	}
	f.reviewAllLocked(first)
}

// vanished notes that the server does not serve the kind any more.
func (f *follower) vanished() {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	first := !f.k.listed
	f.k.listed, f.k.absent = true, true
	f.k.live, f.k.upTo, f.k.lost = map[apply.ID]*live{}, "", time.Time{}
	f.reviewAllLocked(first)
}

// reviewAllLocked judges the objects that no item of a list stands for, after the first list all, and
// tells owners that waited for their first lists.
func (f *follower) reviewAllLocked(first bool) {
	for key := range f.k.users {
		o := f.t.owners[key]
		for id, obj := range o.objects {
			if obj.kind == f.gvk.GroupKind() && (first || f.k.live[id] == nil) {
				f.t.reviewLocked(o, id, nil)
			}
		}
		if first && f.t.syncedLocked(o) {
			f.t.notifyLocked(key, f.t.Now())
		}
	}
}

func (f *follower) open() {
	f.failures, f.refusals = 0, 0
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	f.k.lost = time.Time{}
}

// lose notes since when there is no watch.
func (f *follower) lose() {
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	if f.k.lost.IsZero() {
		f.k.lost = f.t.Now()
	}
}

// patientRefusals is how often a kind that was watched may be refused until it counts as denied.
const patientRefusals = 3

// cut notes that the watch failed, and tells those who wait for the first list when it is denied.
func (f *follower) cut(err error) {
	f.failures++
	if f.refusals++; !denied(err) {
		f.refusals = 0
	}
	f.lose()
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	if f.refusals == 0 || f.k.denied || f.k.listed && f.refusals < patientRefusals {
		return
	}
	f.k.denied = true
	f.t.log("kind is not watched, its drift is looked for at the interval", "kind", f.gvk.GroupKind().String(), "reason", "the controller may not list and watch it")
	for key := range f.k.users {
		if f.t.syncedLocked(f.t.owners[key]) {
			f.t.notifyLocked(key, f.t.Now())
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
