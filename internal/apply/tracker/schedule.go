package tracker

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// Damping of the dry-runs for objects that move without drifting: an autoscaler, a custom resource
// whose status is no subresource.
const firstPatience = 10 * time.Second

// stateLocked judges an object as of now.
func (t *Tracker) stateLocked(o *Owner, id apply.ID) State {
	obj := o.objects[id]
	if obj == nil || obj.record == nil || !obj.record.Watchable {
		return Unknown
	}
	k := t.kinds[obj.kind]
	if !k.usable(t.Now()) {
		return Unknown
	}
	if k.absent {
		return Gone
	}
	return judge(*obj.record, k.live[id], o.key, k.upTo)
}

// reviewLocked judges an object after something changed, and has the owner notified when it should
// act before its interval. seen is the object that the watch showed, nil otherwise. While the owner
// runs a pass nothing is concluded: the watch may show its writes before it has noted them.
func (t *Tracker) reviewLocked(o *Owner, id apply.ID, seen *metav1.PartialObjectMetadata) {
	obj, now := o.objects[id], t.Now()
	if o.busy > 0 {
		if seen != nil {
			obj.late = seen.GetManagedFields()
		}
		return
	}
	late := obj.late
	obj.late = nil
	s := t.stateLocked(o, id)
	if s == InStep || s == Unknown {
		obj.drift, obj.known = nil, nil
		return
	}
	if obj.drift == nil || obj.drift.State != s {
		obj.drift, obj.known = &Drift{ID: id, State: s, At: now}, nil
	}
	if seen != nil {
		late = seen.GetManagedFields()
	}
	if late != nil && s != Gone {
		obj.known = late
		obj.drift.Manager = culprit(obj.known, t.FieldManager)
	}
	if when, due := t.dueLocked(o, obj, now); due {
		if obj.drift.retry.After(when) {
			when = obj.drift.retry
		}
		t.notifyLocked(o.key, when)
	}
}

// postponeLocked puts off a drift that a pass did not correct: the server refuses the correction, or
// the pass failed before it. The owner knows that it failed and has its own time to try again; asking
// sooner and sooner would make a loop of the two.
func (o *Owner) postponeLocked(d *Drift) {
	const most = 10 // doublings: a quarter of an hour, should the interval be longer
	wait := time.Second << min(d.failed, most)
	d.failed++
	d.retry = o.t.Now().Add(max(time.Second, min(wait, o.interval)))
}

// calmFactor is how many times Debounce an owner rests after a correction. In a storm of edits a pass then
// corrects many objects, and its status patch and event are paid once for all.
const calmFactor = 5

// dueLocked says when a drift is to be looked at before the interval; due is false when it waits for
// the interval.
func (t *Tracker) dueLocked(o *Owner, obj *object, now time.Time) (when time.Time, due bool) {
	if o.passive {
		return time.Time{}, false
	}
	soon := now.Add(t.Debounce)
	if calm := o.corrected.Add(calmFactor * t.Debounce); calm.After(soon) {
		soon = calm
	}
	switch obj.drift.State {
	case Gone:
		if t.fightsLocked(o, obj) {
			soon = obj.drift.At.Add(t.patienceLocked(o, obj))
		}
		return soon, !obj.record.VanishesWhenDone
	case Taken:
		return soon, !t.fightsLocked(o, obj)
	case Moved:
		if next := obj.looked.Add(obj.patience); next.After(soon) {
			return next, true
		}
		return soon, true
	}
	return time.Time{}, false
}

// shortLived is how soon after it was created anew an object must be deleted again for that to be
// the work of a program.
const shortLived = 10 * time.Second

// freeReturns is how often in a row such an object comes back at once. Afterwards it comes back after a second, two,
// four and so on, at most the interval: a person who tries it out sees it come back, and a program soon makes us no
// busier than the interval would.
const freeReturns = 3

// patienceLocked is how long an object stays gone that was deleted soon after it came back.
func (t *Tracker) patienceLocked(o *Owner, obj *object) time.Duration {
	const most = 20 // doublings: more than any interval
	if obj.returns < freeReturns || obj.drift.At.Sub(obj.recreated) >= shortLived {
		return 0
	}
	return min(time.Second<<min(obj.returns-freeReturns, most), o.interval)
}

// fightsLocked reports whether the manager of a correction took the same field again within the
// interval: the next correction waits for the interval, so that we are never busier than that; or
// whether an object that comes back again and again has to stay gone for now.
func (t *Tracker) fightsLocked(o *Owner, obj *object) bool {
	now := t.Now()
	if obj.drift == nil || !t.repeated(o, obj, now) {
		return false
	}
	if now.Sub(obj.fought) >= o.interval {
		obj.fought = now
		if t.Fight != nil {
			t.Fight(o.key, *obj.drift)
		}
	}
	return true
}

func (t *Tracker) repeated(o *Owner, obj *object, now time.Time) bool {
	if obj.drift.State == Gone {
		return now.Before(obj.drift.At.Add(t.patienceLocked(o, obj)))
	}
	last := obj.last
	if last == nil || now.Sub(last.at) >= o.interval || last.by != obj.drift.Manager {
		return false
	}
	lost := last.full.Difference(ownSet(obj.known, t.FieldManager))
	return !lost.Intersection(last.back).Empty() || lost.Empty() && last.back.Empty()
}

// notifyLocked has an owner notified at a time, or earlier if it is to be notified earlier already.
func (t *Tracker) notifyLocked(key Key, when time.Time) {
	if had, ok := t.pending[key]; ok && !when.Before(had) {
		return
	}
	t.pending[key] = when
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// schedule notifies owners when their time has come.
func (t *Tracker) schedule() {
	for {
		next := t.notifyDue()
		timer := time.NewTimer(next)
		select {
		case <-t.ctx.Done():
			timer.Stop()
			return
		case <-t.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// notifyDue notifies the owners whose time has come and returns how long to wait for the next.
func (t *Tracker) notifyDue() time.Duration {
	t.mu.Lock()
	now := t.Now()
	next := time.Minute
	var due []Key
	for key, when := range t.pending {
		if left := when.Sub(now); left > 0 {
			next = min(next, left)
			continue
		}
		delete(t.pending, key)
		// One that finds nothing to do is left alone: it may have failed, and would try again because it was woken.
		if o := t.owners[key]; o != nil && o.busy == 0 && o.dueLocked() {
			due = append(due, key)
		}
	}
	t.mu.Unlock()
	if t.Notify != nil {
		for _, key := range due {
			t.Notify(key)
		}
	}
	return next
}
