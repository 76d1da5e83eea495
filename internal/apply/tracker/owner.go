package tracker

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// Owner is the tracked side of whoever owns objects. Its methods are safe for concurrent use.
type Owner struct {
	t   *Tracker
	key Key

	// Guarded by the Tracker's mutex.
	objects  map[apply.ID]*object
	interval time.Duration
	passive  bool // corrections wait for the interval
	busy     int  // passes that are running
	lastFull time.Time
	// corrected is when a drift was last put back.
	corrected time.Time
}

// object is one owned object. It is guarded by the Tracker's mutex.
type object struct {
	kind   schema.GroupKind
	record *apply.Record
	drift  *Drift // since the last write or check
	// known are the managedFields at the drift, to explain the correction.
	known []metav1.ManagedFieldsEntry
	// late are the managedFields that the watch showed while a pass was running.
	late []metav1.ManagedFieldsEntry
	// last is the last correction, nil when there was none within the interval.
	last *correction
	// recreated is when the object was last created anew, returns how often it was in a row, each time soon after it was
	// before.
	recreated time.Time
	returns   int
	// fought is when a fight was last reported.
	fought time.Time
	// looked and patience damp the dry-runs for objects that move all the time.
	looked   time.Time
	patience time.Duration
}

// Drift is an object that is not in step.
type Drift struct {
	ID    apply.ID
	State State
	// Manager is who made the drift, empty when metadata does not tell.
	Manager string
	// At is when the watch showed it.
	At time.Time

	// failed counts the passes that left it as it was; no other is asked for before retry.
	failed int
	retry  time.Time
}

// Configure sets the interval of the owner and whether drift is corrected when it happens or only at
// the interval.
func (o *Owner) Configure(interval time.Duration, immediate bool) {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	o.interval, o.passive = interval, !immediate
}

// Follow makes the owner responsible for the objects of an inventory and forgets all others. It is
// called with the inventory of the status when the owner is first seen, and after every pass.
func (o *Owner) Follow(inv apply.Inventory) {
	keep := make(map[apply.ID]bool, len(inv))
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	for _, e := range inv {
		if o.t.holdLocked(o, e) != nil {
			keep[e.ID] = true
		}
	}
	for _, id := range slices.Collect(maps.Keys(o.objects)) {
		if !keep[id] {
			o.t.dropLocked(o, id)
		}
	}
}

// Synced reports whether the first lists of all kinds of the owner are in, or cannot be had. The
// owner is notified when that comes true.
func (o *Owner) Synced() bool {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	return o.t.syncedLocked(o)
}

func (t *Tracker) syncedLocked(o *Owner) bool {
	for _, obj := range o.objects {
		if k := t.kinds[obj.kind]; !k.listed && !k.denied {
			return false
		}
	}
	return true
}

// Begin says that a pass of the owner runs: notifications wait for its end, which must be told by
// calling the returned function.
func (o *Owner) Begin() (end func()) {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	o.busy++
	before := make(map[apply.ID]*Drift)
	for id, obj := range o.objects {
		if obj.drift != nil {
			before[id] = obj.drift
		}
	}
	return func() {
		o.t.mu.Lock()
		defer o.t.mu.Unlock()
		if o.busy--; o.busy > 0 {
			return
		}
		for id, obj := range o.objects {
			if obj.drift != nil && obj.drift == before[id] {
				o.postponeLocked(obj.drift)
			}
			o.t.reviewLocked(o, id, nil)
		}
	}
}

// Drifts lists what is not in step, in the order of ids.
func (o *Owner) Drifts() []Drift {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	var out []Drift
	for id, obj := range o.objects {
		if s := o.t.stateLocked(o, id); s != InStep {
			d := Drift{ID: id, State: s}
			if obj.drift != nil {
				d.Manager, d.At = obj.drift.Manager, obj.drift.At
			}
			out = append(out, d)
		}
	}
	slices.SortFunc(out, func(a, b Drift) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out
}

// FullPassDue reports whether the owner has not looked at everything for the full pass interval.
func (o *Owner) FullPassDue() bool {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	return o.t.Now().Sub(o.lastFull) >= o.t.FullPassInterval
}

// FullPassDone says that a pass with apply.Options.Full has succeeded.
func (o *Owner) FullPassDone() {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	o.lastFull = o.t.Now()
}

// spread gives each owner its own phase of the full pass.
func (t *Tracker) spread(key Key) time.Time {
	sum := sha256.Sum256([]byte(key.Namespace + "/" + key.Name))
	part := float64(binary.BigEndian.Uint32(sum[:])) / (1 << 33) // of the interval, below a half
	return t.Now().Add(-time.Duration(part * float64(t.FullPassInterval)))
}

// Due reports whether a pass with AtRevision has something to look at although what is desired is
// the same as before.
func (o *Owner) Due() bool {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	return o.dueLocked()
}

func (o *Owner) dueLocked() bool {
	v := &View{o: o, lenient: true}
	for id, obj := range o.objects {
		if obj.record == nil || !v.inStepLocked(id, obj.record.Desired) {
			return true
		}
	}
	return false
}

// View is the owner as apply.Tracker for one pass.
type View struct {
	o *Owner
	// lenient takes what metadata cannot confirm to be in step when the desired hash is the same.
	lenient bool
}

// AtInterval is for passes that look for drift: only what metadata confirms is in step.
func (o *Owner) AtInterval() *View { return &View{o: o} }

// AtRevision is for passes of a new revision or after a drift: objects that metadata cannot confirm
// wait for the interval unless their desired hash changed.
func (o *Owner) AtRevision() *View { return &View{o: o, lenient: true} }

// InStep implements apply.Tracker.
func (v *View) InStep(id apply.ID, desired apply.Hash) bool {
	t := v.o.t
	t.mu.Lock()
	defer t.mu.Unlock()
	return v.inStepLocked(id, desired)
}

func (v *View) inStepLocked(id apply.ID, desired apply.Hash) bool {
	t, obj := v.o.t, v.o.objects[id]
	if obj == nil || obj.record == nil || obj.record.Desired != desired {
		return false
	}
	switch t.stateLocked(v.o, id) {
	case InStep:
		return true
	case Unknown, Foreign, Elsewhere, Leaving:
		return v.lenient
	case Moved:
		return v.lenient && t.Now().Before(obj.looked.Add(obj.patience))
	case Gone:
		return v.lenient && (obj.record.VanishesWhenDone || t.fightsLocked(v.o, obj))
	case Taken:
		return v.lenient && t.fightsLocked(v.o, obj)
	}
	return false
}

// Record implements apply.Tracker.
func (v *View) Record(id apply.ID) (apply.Record, bool) {
	v.o.t.mu.Lock()
	defer v.o.t.mu.Unlock()
	if obj := v.o.objects[id]; obj != nil && obj.record != nil {
		return *obj.record, true
	}
	return apply.Record{}, false
}

// Correctable implements apply.Corrector.
func (v *View) Correctable(id apply.ID, desired apply.Hash) (version string, ok bool) {
	v.o.t.mu.Lock()
	defer v.o.t.mu.Unlock()
	obj, l := v.o.objects[id], v.o.liveLocked(id)
	if obj == nil || obj.record == nil || l == nil || obj.record.Desired != desired || obj.record.UID != l.uid || !l.plain {
		return "", false
	}
	return l.version, v.o.t.stateLocked(v.o, id) == Taken
}

// Reclaim implements apply.Tracker.
func (v *View) Reclaim(id apply.ID) bool {
	t := v.o.t
	t.mu.Lock()
	defer t.mu.Unlock()
	obj := v.o.objects[id]
	if obj == nil || obj.record == nil {
		return false
	}
	wait := t.fightsLocked(v.o, obj)
	switch t.stateLocked(v.o, id) {
	case Taken:
	case Gone:
		wait = wait || obj.record.VanishesWhenDone
	case Elsewhere:
		wait = true
	default:
		return false
	}
	return !v.lenient || !wait
}

// Note implements apply.Tracker.
func (v *View) Note(id apply.ID, r apply.Record) {
	t := v.o.t
	t.mu.Lock()
	defer t.mu.Unlock()
	ns, name, group, kind, ok := id.Parse()
	if !ok || apply.NewID(ns, name, group, kind) != id {
		return
	}
	obj := v.o.objects[id]
	if obj == nil {
		mapped := t.versionOf(schema.GroupKind{Group: group, Kind: kind})
		if obj = t.holdLocked(v.o, apply.Entry{ID: id, Version: mapped}); obj == nil {
			return
		}
	}
	t.noteLocked(v.o, obj, r)
}

// versionOf is a version in which the kind can be watched; any will do.
func (t *Tracker) versionOf(gk schema.GroupKind) string { return t.Client.Mapper().Preferred(gk) }

// noteLocked takes in a write or a check.
func (t *Tracker) noteLocked(o *Owner, obj *object, r apply.Record) {
	now := t.Now()
	if obj.drift != nil {
		o.corrected = now
		switch obj.drift.State {
		case Gone:
			if obj.drift.At.Sub(obj.recreated) >= shortLived {
				obj.returns = 0
			}
			obj.recreated = now
			obj.returns++
		case Moved:
			// Each look within the interval makes the next one wait longer.
			if now.Sub(obj.looked) >= o.interval+obj.patience {
				obj.patience = 0
			}
			obj.looked, obj.patience = now, min(max(2*obj.patience, firstPatience), max(o.interval, firstPatience))
		}
	}
	if obj.last != nil && now.Sub(obj.last.at) >= o.interval {
		obj.last = nil
	}
	obj.record, obj.drift, obj.known = &r, nil, nil
}

// Explain implements apply.Explainer.
func (v *View) Explain(id apply.ID, answer *unstructured.Unstructured) string {
	t := v.o.t
	t.mu.Lock()
	defer t.mu.Unlock()
	obj := v.o.objects[id]
	if obj == nil || obj.drift == nil {
		return ""
	}
	after := answer.GetManagedFields()
	full := ownSet(after, t.FieldManager)
	back := full.Difference(ownSet(obj.known, t.FieldManager))
	obj.last = &correction{at: t.Now(), by: obj.drift.Manager, back: back, full: full}
	return explain(obj.known, back)
}
