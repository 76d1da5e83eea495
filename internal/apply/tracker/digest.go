package tracker

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// Digest returns what a restarted process needs to know that nothing happened meanwhile: a hash over
// id, uid and our managedFields entry of every object. What was desired is not part of it, so that a
// restart need not build to compare: whoever keeps the digest keeps one of all that was built from
// beside it. It is empty while an object is not in step, or when metadata cannot confirm it: then a
// restart looks again.
func (o *Owner) Digest() string {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	lines := make(map[apply.ID]string, len(o.objects))
	for id, obj := range o.objects {
		if obj.record == nil || !obj.record.Watchable || obj.record.VanishesWhenDone {
			return ""
		}
		if s := o.t.stateLocked(o, id); s != InStep && s != Unknown {
			return ""
		}
		lines[id] = line(id, obj.record.UID, obj.record.Entry)
	}
	return sum(lines)
}

// Restore takes the followed objects to be as the last process left them, if the digest that it wrote
// fits what the watch shows now. It returns false when it does not, or before Synced: the pass then
// looks at every object. What was desired stays unknown until Learn.
func (o *Owner) Restore(digest string) bool {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	if digest == "" {
		return false
	}
	records := make(map[apply.ID]*apply.Record, len(o.objects))
	lines := make(map[apply.ID]string, len(o.objects))
	for id := range o.objects {
		l := o.liveLocked(id)
		if l == nil || l.leaving || l.foreign != "" || l.entry.IsZero() || l.owner != o.key {
			return false
		}
		records[id] = &apply.Record{
			UID: l.uid, ResourceVersion: l.version, Generation: l.generation, Entry: l.entry, Meta: l.meta, Watchable: true,
		}
		lines[id] = line(id, l.uid, l.entry)
	}
	if sum(lines) != digest {
		return false
	}
	for id, r := range records {
		obj := o.objects[id]
		obj.record, obj.drift, obj.known = r, nil, nil
	}
	return true
}

// Learn tells what was desired of restored objects. Without it the next pass asks with a dry-run.
func (o *Owner) Learn(hashes map[apply.ID]apply.Hash) {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	for id, desired := range hashes {
		if obj := o.objects[id]; obj != nil && obj.record != nil && obj.record.Desired.IsZero() {
			r := *obj.record
			r.Desired = desired
			obj.record = &r
		}
	}
}

// Sees reports whether the watch shows the object now.
func (o *Owner) Sees(id apply.ID) bool {
	o.t.mu.Lock()
	defer o.t.mu.Unlock()
	return o.liveLocked(id) != nil
}

// liveLocked returns what the watch shows of an object of the owner, nil when it cannot be relied on.
func (o *Owner) liveLocked(id apply.ID) *live {
	obj := o.objects[id]
	if obj == nil {
		return nil
	}
	k := o.t.kinds[obj.kind]
	if !k.usable(o.t.Now()) {
		return nil
	}
	return k.live[id]
}

func line(id apply.ID, uid types.UID, entry apply.Hash) string {
	return fmt.Sprintf("%s %s %s\n", id, uid, entry)
}

func sum(lines map[apply.ID]string) string {
	d := sha256.New()
	d.Write([]byte("tracked/1\n"))
	for _, id := range slices.Sorted(maps.Keys(lines)) {
		d.Write([]byte(lines[id]))
	}
	return "sha256:" + hex.EncodeToString(d.Sum(nil))
}
