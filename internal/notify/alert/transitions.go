package alert

import (
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// KeyTransition is the metadata that says what a transition was, Fired or Resolved.
const (
	KeyTransition = "transition"
	Fired         = "fired"
	Resolved      = "resolved"
)

const (
	// maxFailures bounds the memory of Transitions.
	maxFailures = 10_000
	// noteEvery is how often it is worth writing that a failure which was sent still lasts.
	noteEvery = 5 * time.Minute
)

// Transitions knows, for the Alerts that send only transitions, which objects fail and of which of
// them that was sent. The zero value is ready.
type Transitions struct {
	mu       sync.Mutex
	failures map[string]*Failure
	changed  bool
}

// Failure of one object, as one Alert sees it.
type Failure struct {
	Alert types.NamespacedName `json:"alert"`
	UID   types.UID            `json:"uid"`
	// Due is when it is sent, unless the object works again before; zero: it was sent.
	Due time.Time `json:"due,omitzero"`
	// At is when the latest event that tells of it came.
	At time.Time `json:"at"`
	// Event is the latest of those that tell of it, once it was sent in brief.
	Event *event.Event `json:"event"`
	// noted is At as it was last worth writing.
	noted time.Time
}

// Failing is an object that is known to fail, and the Alert that knows.
type Failing struct {
	Alert types.NamespacedName
	// At is when it was last heard to fail.
	At    time.Time
	Event *event.Event
}

// Observe takes an event that an Alert may want. It returns what to send now: the event with
// KeyTransition, or nil.
func (t *Transitions) Observe(a *notificationv1.Alert, e *event.Event, now time.Time) *event.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := string(a.UID) + "/" + e.Object()
	failure := t.failures[key]
	switch {
	case e.IsError() && failure == nil:
		return t.begin(key, a, e, now)
	case e.IsError():
		failure.Event, failure.At = e, now
		if failure.Due.IsZero() {
			failure.Event = e.Brief()
		}
		if !failure.Due.IsZero() || now.Sub(failure.noted) > noteEvery {
			failure.noted, t.changed = now, true
		}
		return nil
	case !e.Succeeded():
		return nil
	}
	return t.end(key, e)
}

// Resolve ends the failure of an object that works again without an event that says so. It returns what to send, or
// nil.
func (t *Transitions) Resolve(a *notificationv1.Alert, e *event.Event) *event.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.end(string(a.UID)+"/"+e.Object(), e)
}

func (t *Transitions) end(key string, e *event.Event) *event.Event {
	failure := t.failures[key]
	if failure == nil {
		return nil
	}
	delete(t.failures, key)
	t.changed = true
	if !failure.Due.IsZero() {
		return nil // nobody has heard of it
	}
	return Marked(e, Resolved)
}

// Failing lists the objects that are known to fail.
func (t *Transitions) Failing() []Failing {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Failing, 0, len(t.failures))
	for _, f := range t.failures {
		out = append(out, Failing{f.Alert, f.At, f.Event})
	}
	return out
}

func (t *Transitions) begin(key string, a *notificationv1.Alert, e *event.Event, now time.Time) *event.Event {
	if len(t.failures) >= maxFailures {
		return Marked(e, Fired) // rather a message too many than a failure untold
	}
	if t.failures == nil {
		t.failures = map[string]*Failure{}
	}
	f := &Failure{Alert: types.NamespacedName{Namespace: a.Namespace, Name: a.Name}, UID: a.UID, At: now, Event: e, noted: now}
	t.failures[key], t.changed = f, true
	if threshold := a.Spec.Transitions.Threshold; threshold != nil && threshold.Duration > 0 {
		f.Due = now.Add(threshold.Duration)
		return nil
	}
	f.Event = e.Brief()
	return Marked(e, Fired)
}

// Untold takes back that a failure was sent: it is due once more, unless the object works again before.
func (t *Transitions) Untold(alert types.UID, e *event.Event, due time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if f := t.failures[string(alert)+"/"+e.Object()]; f != nil {
		f.Event, f.Due, t.changed = e, due, true
	}
}

// TakeDue returns the failures that have lasted long enough, as sent from now on, and when the next
// one will have; zero: none waits.
func (t *Transitions) TakeDue(now time.Time) (due []Failure, next time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.failures {
		switch {
		case f.Due.IsZero():
		case !f.Due.After(now):
			f.Due, t.changed = time.Time{}, true
			due = append(due, Failure{Alert: f.Alert, UID: f.UID, Event: Marked(f.Event, Fired)})
			f.Event = f.Event.Brief()
		case next.IsZero() || f.Due.Before(next):
			next = f.Due
		}
	}
	return due, next
}

// Forget drops what Alerts remember that are no more.
func (t *Transitions) Forget(exists func(types.UID) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, f := range t.failures {
		if !exists(f.UID) {
			delete(t.failures, key)
			t.changed = true
		}
	}
}

// Marked is the event with the transition among the controller's metadata.
func Marked(e *event.Event, transition string) *event.Event {
	metadata := map[string]string{e.Group() + "/" + KeyTransition: transition}
	for k, v := range e.Metadata {
		metadata[k] = v
	}
	return e.With(metadata)
}

// Tell returns a transition as providers of a class get it. The end of a failure is for all of them, although the
// event that says so is one for commit statuses only where nothing had failed.
func Tell(class Class, e *event.Event) *event.Event {
	key := e.Group() + "/" + event.KeyCommitStatus
	if class == Raw || class == CommitStatus || e.Own(KeyTransition) == "" || e.Metadata[key] == "" {
		return e
	}
	metadata := maps.Clone(e.Metadata)
	delete(metadata, key)
	return e.With(metadata)
}

// Changed tells whether there is something new to write since it was last called.
func (t *Transitions) Changed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.changed
	t.changed = false
	return was
}

// Touch lets Changed tell once more that there is something to write.
func (t *Transitions) Touch() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changed = true
}

// Snapshot is what to write of the memory, as JSON: the newest failures, of those that were told only what their end
// has to say.
func (t *Transitions) Snapshot(most int) any {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[string]Failure, len(t.failures))
	for key, f := range t.failures {
		brief := *f
		if f.Due.IsZero() {
			brief.Event = f.Event.Brief()
		}
		brief.Event = brief.Event.Redacted()
		out[key] = brief
	}
	if len(out) <= most {
		return out
	}
	keys := slices.SortedFunc(maps.Keys(out), func(a, b string) int { return out[b].At.Compare(out[a].At) })
	for _, old := range keys[most:] {
		delete(out, old)
	}
	return out
}

// UnmarshalJSON reads it back. What happened since comes on top.
func (t *Transitions) UnmarshalJSON(data []byte) error {
	read := map[string]*Failure{}
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failures == nil {
		t.failures = map[string]*Failure{}
	}
	for key, f := range read {
		if _, newer := t.failures[key]; !newer && f != nil && f.Event != nil {
			t.failures[key] = f
		}
	}
	return nil
}
