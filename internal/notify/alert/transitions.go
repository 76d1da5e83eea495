package alert

import (
	"encoding/json"
	"maps"
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

// maxFailures bounds the memory of Transitions.
const maxFailures = 10_000

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
	// Event is the latest of those that tell of it.
	Event *event.Event `json:"event"`
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
		failure.Event, t.changed = e, true
		return nil
	case failure == nil || !e.Succeeded():
		return nil
	}
	delete(t.failures, key)
	t.changed = true
	if !failure.Due.IsZero() {
		return nil // nobody has heard of it
	}
	return marked(e, Resolved)
}

func (t *Transitions) begin(key string, a *notificationv1.Alert, e *event.Event, now time.Time) *event.Event {
	if len(t.failures) >= maxFailures {
		return marked(e, Fired) // rather a message too many than a failure untold
	}
	if t.failures == nil {
		t.failures = map[string]*Failure{}
	}
	f := &Failure{Alert: types.NamespacedName{Namespace: a.Namespace, Name: a.Name}, UID: a.UID, Event: e}
	t.failures[key], t.changed = f, true
	if threshold := a.Spec.Transitions.Threshold; threshold != nil && threshold.Duration > 0 {
		f.Due = now.Add(threshold.Duration)
		return nil
	}
	return marked(e, Fired)
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
			due = append(due, Failure{Alert: f.Alert, UID: f.UID, Event: marked(f.Event, Fired)})
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

// marked is the event with the transition among the controller's metadata.
func marked(e *event.Event, transition string) *event.Event {
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

// MarshalJSON writes the memory.
func (t *Transitions) MarshalJSON() ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return json.Marshal(t.failures)
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
