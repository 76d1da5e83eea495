package tracker

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/apply"
)

var configMap = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}

// fixture is a tracker without a server: the test plays the watch.
type fixture struct {
	*Tracker
	f   *follower
	o   *Owner
	now time.Time
}

func newFixture(names ...string) *fixture {
	x := &fixture{now: time.Unix(1_000_000, 0)}
	x.Tracker = &Tracker{
		Options: Options{FieldManager: manager, OwnerGroup: "g", Debounce: time.Millisecond, FullPassInterval: time.Hour,
			Now: func() time.Time { return x.now }},
		ctx: context.Background(), wake: make(chan struct{}, 1),
		owners: map[Key]*Owner{}, byID: map[apply.ID][]*Owner{},
		kinds: map[schema.GroupKind]*kind{}, pending: map[Key]time.Time{},
	}
	k := &kind{users: map[Key]int{}, stop: func() {}, live: map[apply.ID]*live{}}
	x.kinds[configMap.GroupKind()] = k
	x.f = &follower{t: x.Tracker, k: k, gvk: configMap}
	x.o = x.Owner(Key{"ns", "app"})
	x.o.interval = time.Hour
	var inv apply.Inventory
	for _, n := range names {
		inv = append(inv, apply.Entry{ID: apply.NewID("ns", n, "", "ConfigMap"), Version: "v1"})
	}
	x.o.Follow(inv)
	return x
}

func item(name string, version int) metav1.PartialObjectMetadata {
	return metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: "ns", Name: name, UID: types.UID(name), ResourceVersion: fmt.Sprint(version),
		Labels: map[string]string{"g/name": "app", "g/namespace": "ns"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: manager, Operation: metav1.ManagedFieldsOperationApply,
			APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:data":{"f:k":{}}}`)}},
	}}
}

// wrote notes a write whose answer was the item.
func (x *fixture) wrote(m metav1.PartialObjectMetadata) {
	id := x.f.id(&m)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.noteLocked(x.o, x.o.objects[id], apply.Record{
		UID: m.UID, ResourceVersion: m.ResourceVersion, Entry: apply.EntryHash(&m, manager), Meta: apply.MetaHash(&m, manager),
		At: x.now.Add(-time.Minute), Watchable: true,
	})
}

func (x *fixture) states() string {
	out := ""
	for _, d := range x.o.Drifts() {
		ref, _ := apply.Entry{ID: d.ID}.Ref()
		out += ref.Name + " " + d.State.String() + "; "
	}
	return out
}

func (x *fixture) notified() bool {
	_, ok := x.pending[x.o.key]
	delete(x.pending, x.o.key)
	return ok
}

func TestLists(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason string
		do     func(x *fixture)
		states string
		notify bool
	}{
		{"a list of what is there", func(x *fixture) {
			x.f.replaceSince([]metav1.PartialObjectMetadata{item("a", 10), item("b", 11)}, "20", x.now)
		}, "", false},
		{"a list without an object", func(x *fixture) {
			x.f.replaceSince([]metav1.PartialObjectMetadata{item("a", 10)}, "20", x.now)
		}, "b gone; ", true},
		{"a list from before our write", func(x *fixture) {
			x.wrote(item("b", 30))
			x.o.objects[apply.NewID("ns", "b", "", "ConfigMap")].record.At = x.now
			x.f.replaceSince([]metav1.PartialObjectMetadata{item("a", 10)}, "20", x.now)
		}, "", false},
		{"the server was set back: nothing is known any more", func(x *fixture) {
			x.wrote(item("b", 30))
			x.f.replaceSince([]metav1.PartialObjectMetadata{item("a", 10), item("b", 5)}, "20", x.now)
		}, "a unknown; b unknown; ", true},
		{"the server was set back, and has grown past our write since", func(x *fixture) {
			x.f.replaceSince([]metav1.PartialObjectMetadata{item("a", 10), item("b", 5)}, "50", x.now)
		}, "a unknown; b unknown; ", true},
		{"the server was set back, and what is shown is older than our write that the watch has not shown", func(x *fixture) {
			x.wrote(item("b", 30))
			x.f.replaceSince([]metav1.PartialObjectMetadata{item("a", 10), item("b", 11)}, "50", x.now)
		}, "a unknown; b unknown; ", true},
		{"the list itself is older than the watch was", func(x *fixture) {
			x.f.replaceSince([]metav1.PartialObjectMetadata{item("a", 10), item("b", 11)}, "12", x.now)
			x.notified()
			x.f.replaceSince([]metav1.PartialObjectMetadata{item("a", 10), item("b", 11)}, "11", x.now)
		}, "a unknown; b unknown; ", true},
		{"the kind is not served any more", func(x *fixture) { x.f.vanished() }, "a gone; b gone; ", true},
		{"the kind comes back with its objects", func(x *fixture) {
			x.f.vanished()
			x.notified()
			x.f.replaceSince([]metav1.PartialObjectMetadata{item("a", 10), item("b", 11)}, "20", x.now)
		}, "", false},
		{"the watch is cut for a moment", func(x *fixture) {
			x.f.lose()
			x.now = x.now.Add(lag / 2)
		}, "", false},
		{"the watch is cut for long", func(x *fixture) {
			x.f.lose()
			x.now = x.now.Add(lag)
		}, "a unknown; b unknown; ", false},
		{"a server that starts refuses the watch for a moment", func(x *fixture) {
			x.f.cut(forbidden)
			x.f.cut(forbidden)
		}, "", false},
		{"the watch may not be had any more", func(x *fixture) {
			for range patientRefusals {
				x.f.cut(forbidden)
			}
		}, "a unknown; b unknown; ", true},
		{"the watch may be had again", func(x *fixture) {
			for range patientRefusals {
				x.f.cut(forbidden)
			}
			x.notified()
			x.f.replaceSince([]metav1.PartialObjectMetadata{item("a", 10), item("b", 11)}, "20", x.now)
			x.f.open()
		}, "", false},
		{"a bookmark moves the watch on", func(x *fixture) {
			x.wrote(item("c", 25))
			x.f.event("BOOKMARK", &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "30"}})
		}, "c gone; ", false},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			x := newFixture("a", "b")
			x.f.replaceSince([]metav1.PartialObjectMetadata{item("a", 10), item("b", 11)}, "11", x.now)
			x.f.open()
			x.wrote(item("a", 10))
			x.wrote(item("b", 11))
			if tc.reason == "a bookmark moves the watch on" {
				x.o.Follow(append(x.inventory("a", "b"), x.inventory("c")...))
			}
			x.notified()
			tc.do(x)
			if got := x.states(); got != tc.states {
				t.Errorf("states %q, want %q", got, tc.states)
			}
			if got := x.notified(); got != tc.notify {
				t.Errorf("notified: %v", got)
			}
		})
	}
}

func (x *fixture) inventory(names ...string) apply.Inventory {
	var inv apply.Inventory
	for _, n := range names {
		inv = append(inv, apply.Entry{ID: apply.NewID("ns", n, "", "ConfigMap"), Version: "v1"})
	}
	return inv
}

var (
	forbidden = apierrors.NewForbidden(schema.GroupResource{}, "", nil)
	busy      = apierrors.NewGenericServerResponse(http.StatusInternalServerError, "list", schema.GroupResource{}, "", "", 0, true)
)

func TestBackoff(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err   error
		times int
		most  time.Duration
		exact bool
	}{
		{busy, 1, 500 * time.Millisecond, false},
		{busy, 3, 2 * time.Second, false},
		{busy, 50, 30 * time.Second, false},
		{forbidden, 1, 2 * time.Second, true},
		{forbidden, 2, 8 * time.Second, true},
		{forbidden, 50, time.Minute, true},
	} {
		x := newFixture("a")
		for range tc.times {
			x.f.cut(tc.err)
		}
		if d := x.f.backoff(); d > tc.most || d < tc.most/2 || tc.exact && d != tc.most {
			t.Errorf("%v %d times: %s, at most %s", tc.err, tc.times, d, tc.most)
		}
		x.f.open()
		x.f.cut(busy)
		if d := x.f.backoff(); d > 500*time.Millisecond {
			t.Errorf("%v %d times, then a watch that was open and cut: %s", tc.err, tc.times, d)
		}
	}
}
