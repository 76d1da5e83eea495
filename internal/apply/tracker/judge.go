package tracker

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// State is what the watch tells of an owned object.
type State int

// States of an owned object.
const (
	// InStep needs nothing.
	InStep State = iota
	// Unknown has no record, or one that metadata cannot confirm.
	Unknown
	// Taken means that fields of ours, or the object, were changed or removed.
	Taken
	// Gone means that the object was deleted, or lost its owner label.
	Gone
	// Moved means that something changed that is perhaps ours.
	Moved
	// Foreign means that a manager that we take over wrote to the object.
	Foreign
	// Elsewhere means that the object carries the labels of another owner.
	Elsewhere
	// Leaving means that the object is being deleted. Asking about it now would meet it half gone; once it is,
	// that decides.
	Leaving
)

func (s State) String() string {
	return [...]string{"in step", "unknown", "taken", "gone", "moved", "foreign", "elsewhere", "leaving"}[s]
}

// live is what is kept of an object that the watch shows.
type live struct {
	uid         types.UID
	version     string
	generation  int64
	entry, meta apply.Hash
	owner       Key    // from the owner labels
	foreign     string // manager that would be taken over
	plain       bool   // see apply.Plain
	exempt      bool   // see apply.Exempt
	leaving     bool   // it has a deletionTimestamp
	seen        time.Time
}

// observe reduces an object's metadata, which is the tracker's own.
func observe(obj *metav1.PartialObjectMetadata, o *Options, now time.Time) live {
	if o.Updates {
		obj.ManagedFields = apply.UpdatesAsApplies(obj.ManagedFields, o.FieldManager)
	}
	labels := obj.GetLabels()
	return live{
		uid:        obj.GetUID(),
		version:    obj.GetResourceVersion(),
		generation: obj.GetGeneration(),
		entry:      apply.EntryHash(obj, o.FieldManager),
		meta:       apply.MetaHash(obj, o.FieldManager),
		owner:      Key{Namespace: labels[o.OwnerGroup+"/namespace"], Name: labels[o.OwnerGroup+"/name"]},
		foreign:    apply.ForeignManager(obj, o.FieldManager, o.OverrideManagers),
		plain:      apply.Plain(obj, o.OwnerGroup, o.FieldManager, o.OverrideManagers),
		exempt:     apply.Policies(o.OwnerGroup).Untouched(obj),
		leaving:    obj.GetDeletionTimestamp() != nil,
		seen:       now,
	}
}

// sameSecond is how close to our write a change can hide from the time in our entry, which has a
// resolution of a second.
const sameSecond = 2 * time.Second

// judge compares the record of our last write with what the watch shows. l is nil when it shows
// nothing; upTo is the resourceVersion up to which the watch has been read.
func judge(r apply.Record, l *live, owner Key, upTo string) State {
	if l == nil {
		if newer(r.ResourceVersion, upTo) {
			return InStep // our own write has not come by yet
		}
		return Gone
	}
	if newer(r.ResourceVersion, l.version) {
		return InStep // from before our write
	}
	switch {
	case l.exempt:
		return InStep // as long as it says so
	case r.UID != l.uid:
		return Taken
	case l.owner != owner && l.owner != Key{}:
		return Elsewhere
	case l.leaving:
		return Leaving
	case r.Entry != l.entry || r.Meta != l.meta:
		return Taken
	case l.foreign != "":
		return Foreign
	case r.ResourceVersion == l.version:
		return InStep
	case r.Generation != l.generation:
		return Moved
	case l.generation == 0 && !r.At.IsZero() && l.seen.Sub(r.At).Abs() < sameSecond:
		return Moved
	}
	return InStep
}

// newer reports whether version a comes after version b; an empty b is before everything, and
// versions that cannot be compared are not newer.
func newer(a, b string) bool {
	if b == "" {
		return a != ""
	}
	c, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && c > 0
}
