package kustomize

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// desires knows what every Kustomization of this process wants, so that none deletes what another one is about to
// apply. It is safe for concurrent use.
type desires struct {
	mu      sync.Mutex
	of      map[types.NamespacedName]*desire
	held    map[apply.ID]types.NamespacedName
	excused map[types.NamespacedName]string // targets that nobody waits for any more
	changed chan struct{}
}

// desire is what one Kustomization wants.
type desire struct {
	// full is the target (see target.full) for which it is known, or was last tried.
	full    string
	ids     []apply.ID // sorted
	cluster string
	// client applies them.
	client *apply.Client
	// refused says that the server did not take it all.
	refused bool
	// blocked is the target that waits for dependencies, nil when it does not.
	blocked *target
}

func newDesires() *desires {
	return &desires{
		of: map[types.NamespacedName]*desire{}, held: map[apply.ID]types.NamespacedName{}, changed: make(chan struct{}),
		excused: map[types.NamespacedName]string{},
	}
}

// signal returns a channel that is closed at the next change.
func (d *desires) signal() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

func (d *desires) entry(name types.NamespacedName) *desire {
	e := d.of[name]
	if e == nil {
		e = &desire{}
		d.of[name] = e
	}
	return e
}

// tell wakes all who wait. The caller holds mu.
func (d *desires) tell() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// note records what a target wants; ids is not changed afterwards.
func (d *desires) note(t *target, client *apply.Client, inv apply.Inventory) {
	ids := make([]apply.ID, len(inv))
	for i, e := range inv {
		ids[i] = e.ID
	}
	slices.Sort(ids)
	d.mu.Lock()
	defer d.mu.Unlock()
	*d.entry(t.name()) = desire{full: t.full(), ids: ids, cluster: t.cluster(), client: client}
	d.tell()
}

// refuse records that the server does not take what a Kustomization wants.
func (d *desires) refuse(name types.NamespacedName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entry(name).refused = true
}

// tried records that a target came to its end: what was wanted before is still wanted, as far as anybody knows.
func (d *desires) tried(t *target) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entry(t.name())
	if e.full == t.full() && e.blocked == nil {
		return
	}
	e.full, e.blocked = t.full(), nil
	d.tell()
}

// block records that a target waits for its dependencies.
func (d *desires) block(t *target) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.entry(t.name())
	if e.full == t.full() || e.blocked != nil && e.blocked.full() == t.full() {
		return
	}
	e.blocked = t
	d.tell()
}

// drop forgets a Kustomization.
func (d *desires) drop(name types.NamespacedName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.of, name)
	delete(d.excused, name)
	d.tell()
}

// settled tells whether nobody has to wait for a Kustomization whose target should be this one.
func (d *desires) settled(name types.NamespacedName, full string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.of[name]
	return e != nil && e.full == full || d.excused[name] == full
}

// excuse stops all waits for a target.
func (d *desires) excuse(name types.NamespacedName, full string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.excused[name] = full
}

// blockedTarget returns the target of a Kustomization that waits for its dependencies, nil when it does not.
func (d *desires) blockedTarget(name types.NamespacedName) *target {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e := d.of[name]; e != nil {
		return e.blocked
	}
	return nil
}

// claim is another Kustomization that wants an object.
type claim struct {
	by     types.NamespacedName
	client *apply.Client
}

// claims returns who wants an object of a cluster, but for one.
func (d *desires) claims(id apply.ID, cluster string, except types.NamespacedName) []claim {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []claim
	for name, e := range d.of {
		if name == except || e.cluster != cluster || e.client == nil {
			continue
		}
		if _, wanted := slices.BinarySearch(e.ids, id); wanted {
			out = append(out, claim{by: name, client: e.client})
		}
	}
	return out
}

// hold remembers that a Kustomization keeps an object in its inventory until another one has applied it.
func (d *desires) hold(id apply.ID, by types.NamespacedName) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held[id] = by
}

// release returns who held objects that another Kustomization has applied now.
func (d *desires) release(inv apply.Inventory, owner types.NamespacedName) []types.NamespacedName {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []types.NamespacedName
	if len(d.held) == 0 {
		return nil
	}
	for _, e := range inv {
		by, ok := d.held[e.ID]
		if !ok || by == owner {
			continue
		}
		delete(d.held, e.ID)
		if !slices.Contains(out, by) {
			out = append(out, by)
		}
	}
	return out
}
