package health

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// Key names an owner.
type Key struct{ Namespace, Name string }

// Charge is what a Vigil watches for one owner.
type Charge struct {
	// Objects whose health matters.
	Objects []Object
	// Options are those of a Wait; Watch is for the objects that Sees does not know.
	Options Options
	// Sees reports whether changes of an object are told to Touch. It may be called at any time.
	Sees func(apply.ID) bool
}

// Vigil keeps an eye on objects after they were found healthy. A change that it is told of costs one
// read as the owner, at most one a second and object. An object that leaves Current starts a clock of
// Options.Timeout; the owner is notified when it runs out, and when all are Current again after that.
type Vigil struct {
	ctx    context.Context
	notify func(Key)
	slots  chan struct{} // bounds the reads of all owners

	mu    sync.Mutex
	wards map[Key]*ward
}

// ward is what is known of one owner's objects. It is guarded by the Vigil's mutex.
type ward struct {
	Charge
	key      Key
	objects  map[apply.ID]*guarded
	order    []apply.ID
	deadline *time.Timer
	// declared says that the owner was told of objects that are not healthy, details why they are not, since when
	// since the first of them left Current.
	declared bool
	details  string
	since    time.Time
}

// guarded is one object.
type guarded struct {
	State
	left    time.Time // when it left Current, zero while it is
	read    time.Time
	known   bool // it was read
	reading bool
	again   bool
	sub     *subscription
}

// NewVigil returns a Vigil that works until the context ends. notify must not block.
func NewVigil(ctx context.Context, notify func(Key)) *Vigil {
	return &Vigil{ctx: ctx, notify: notify, slots: make(chan struct{}, 8), wards: map[Key]*ward{}}
}

// Keep begins with objects that have just been found healthy, or that an earlier process found so. Those that the
// Vigil did not watch until now are read once more: nobody was told of what happened to them since.
func (v *Vigil) Keep(key Key, c Charge) {
	if c.Options.PollInterval <= 0 {
		c.Options.PollInterval = 5 * time.Second
	}
	w := &ward{Charge: c, key: key, objects: map[apply.ID]*guarded{}}
	for _, obj := range c.Objects {
		if apply.Inert(obj.GroupKind()) && c.Options.Exprs.lookup(obj.GroupKind()) == nil {
			continue // healthy by being there, which is the owner's own business
		}
		id := obj.ID()
		g := &guarded{State: State{Object: obj, Status: status.CurrentStatus}}
		w.objects[id] = g
		w.order = append(w.order, id)
	}
	w.Objects = nil
	for id, g := range w.objects {
		if !c.Sees(id) {
			v.subscribe(w, id, g)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.wards[key]
	v.dropLocked(key)
	v.wards[key] = w
	for id, g := range w.objects {
		if old != nil && old.objects[id].current() {
			g.known, g.read = true, old.objects[id].read
			continue
		}
		v.readLocked(w, id, g)
	}
}

// current reports whether the last read found the object so, and nothing has happened since.
func (g *guarded) current() bool {
	return g != nil && g.known && !g.reading && g.Status == status.CurrentStatus
}

func (v *Vigil) subscribe(w *ward, id apply.ID, g *guarded) {
	if w.Options.Watch == nil {
		return
	}
	m, err := w.Options.Client.Mapper().ForKind(v.ctx, g.GroupVersionKind)
	if err != nil {
		return
	}
	ns := g.Namespace
	if !m.Namespaced {
		ns = ""
	}
	g.sub = w.Options.Watch.subscribe(m.Resource, ns, g.Name, func() { v.Touch(w.key, id) })
}

// Drop ends the watch over an owner's objects.
func (v *Vigil) Drop(key Key) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dropLocked(key)
}

func (v *Vigil) dropLocked(key Key) {
	w := v.wards[key]
	if w == nil {
		return
	}
	delete(v.wards, key)
	if w.deadline != nil {
		w.deadline.Stop()
	}
	for _, g := range w.objects {
		if g.sub != nil {
			go g.sub.close() // it may be telling us something just now
		}
	}
}

// Touch says that an object has changed. It does not block.
func (v *Vigil) Touch(key Key, id apply.ID) {
	v.mu.Lock()
	defer v.mu.Unlock()
	w := v.wards[key]
	if w == nil {
		return
	}
	if g := w.objects[id]; g != nil {
		v.readLocked(w, id, g)
	}
}

// readLocked has an object read soon, and again when it changes meanwhile.
func (v *Vigil) readLocked(w *ward, id apply.ID, g *guarded) {
	if g.reading {
		g.again = true
		return
	}
	g.reading = true
	time.AfterFunc(max(readGap-time.Since(g.read), 0), func() { v.read(w, id, g) })
}

func (v *Vigil) read(w *ward, id apply.ID, g *guarded) {
	select {
	case v.slots <- struct{}{}:
	case <-v.ctx.Done():
		return
	}
	v.mu.Lock()
	before, gone := g.State, v.wards[w.key] != w
	g.again = false
	v.mu.Unlock()
	if gone {
		<-v.slots
		return
	}
	now, _ := look(v.ctx, &w.Options, before)
	<-v.slots
	if now.Status == status.CurrentStatus {
		now.live = nil // only what is not needs to be explained
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ctx.Err() != nil || v.wards[w.key] != w {
		return
	}
	g.State, g.known, g.read, g.reading = now, true, time.Now(), false
	v.judgeLocked(w, g)
	switch {
	case g.again:
		v.readLocked(w, id, g)
	case now.Err != nil:
		g.reading = true // nobody tells when the way to the server is free again
		time.AfterFunc(w.Options.PollInterval, func() { v.read(w, id, g) })
	}
}

// judgeLocked starts or stops the clock after an object was read.
func (v *Vigil) judgeLocked(w *ward, g *guarded) {
	if g.Status != status.CurrentStatus {
		if g.left.IsZero() {
			g.left = time.Now()
			v.armLocked(w)
		}
		return
	}
	g.left = time.Time{}
	if w.declared && len(w.ill()) == 0 {
		v.notify(w.key)
	}
}

// armLocked sets the timer to when the first clock runs out.
func (v *Vigil) armLocked(w *ward) {
	if w.deadline != nil {
		w.deadline.Stop()
	}
	var first time.Time
	for _, g := range w.objects {
		if !g.left.IsZero() && (first.IsZero() || g.left.Before(first)) {
			first = g.left
		}
	}
	if first.IsZero() || w.declared {
		return
	}
	w.deadline = time.AfterFunc(time.Until(first.Add(w.Options.Timeout)), func() { v.runOut(w) })
}

// runOut declares what is not Current when a clock has run out.
func (v *Vigil) runOut(w *ward) {
	v.mu.Lock()
	late := false
	for _, g := range w.objects {
		late = late || !g.left.IsZero() && time.Since(g.left) >= w.Options.Timeout
	}
	if v.wards[w.key] != w || w.declared || !late {
		v.armLocked(w)
		v.mu.Unlock()
		return
	}
	ill := w.ill()
	v.mu.Unlock()
	details := explainStates(v.ctx, w.Options, ill)
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.wards[w.key] != w || len(w.ill()) == 0 {
		return
	}
	w.declare(details)
	v.notify(w.key)
}

func (w *ward) declare(details string) {
	w.declared, w.details, w.since = true, details, time.Now()
	for _, g := range w.objects {
		if !g.left.IsZero() && g.left.Before(w.since) {
			w.since = g.left
		}
	}
}

// ill lists the objects that are not Current, in the order in which they were given.
func (w *ward) ill() []State {
	var out []State
	for _, id := range w.order {
		if g := w.objects[id]; g.Status != status.CurrentStatus {
			out = append(out, g.State)
		}
	}
	return out
}

// Opinion is what a Vigil thinks of an owner's objects.
type Opinion struct {
	// Known is false when nothing is watched, or changes may go unseen: wait as if there were no Vigil.
	Known bool
	// Healthy says that all are Current, Err that they are not and that the time for it has run out. With neither the
	// clock runs. The text is that of the tables, without a prefix.
	Healthy bool
	Err     error
	Details string
	// Lasted is how long objects were or are not Current.
	Lasted time.Duration
}

// Opinion returns what is thought of an owner's objects. At the interval an object that has failed is
// not given more time.
func (v *Vigil) Opinion(key Key, atInterval bool) Opinion {
	v.mu.Lock()
	w := v.wards[key]
	v.mu.Unlock()
	if w == nil || !v.sees(w) {
		return Opinion{}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	ill := w.ill()
	o := Opinion{Known: true, Healthy: len(ill) == 0, Details: w.details}
	for _, g := range w.objects {
		o.Healthy = o.Healthy && g.known
	}
	if w.declared {
		o.Lasted = time.Since(w.since)
	}
	failed := slices.DeleteFunc(slices.Clone(ill), func(s State) bool { return s.Status != status.FailedStatus })
	early := atInterval && len(failed) > 0 && (!w.Options.DisableFailFast || len(failed) == len(ill))
	switch {
	case len(ill) == 0:
		w.declared, w.details = w.declared && !o.Healthy, ""
	case early:
		o.Err = fmt.Errorf("failed early due to stalled resources: [%s]", list(failed))
		if !w.declared {
			w.declare(messages(failed))
			o.Details, o.Lasted = w.details, time.Since(w.since)
		}
	case w.declared:
		o.Err = fmt.Errorf("timeout waiting for: [%s]", list(ill))
	}
	return o
}

// messages says what is known without a request of why objects are not ready.
func messages(states []State) string {
	var lines []string
	for _, s := range states {
		if s.Message != "" {
			lines = append(lines, s.Subject()+": "+s.Message)
		}
	}
	return strings.Join(lines, "\n")
}

// sees reports whether changes of all objects are told.
func (v *Vigil) sees(w *ward) bool {
	for _, id := range w.order {
		if sub := w.objects[id].sub; sub != nil {
			if _, _, open := sub.state(); open {
				continue
			}
		}
		if !w.Sees(id) {
			return false
		}
	}
	return true
}

// Current returns the objects that are known to be Current now.
func (v *Vigil) Current(key Key) map[apply.ID]bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	w := v.wards[key]
	if w == nil {
		return nil
	}
	out := make(map[apply.ID]bool, len(w.objects))
	for id, g := range w.objects {
		if g.current() {
			out[id] = true
		}
	}
	return out
}

// explainStates says why objects are not ready.
func explainStates(ctx context.Context, o Options, states []State) string {
	w := &waiter{Options: o}
	return w.explain(ctx, states)
}
