package alert

import (
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/api/meta"
	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/event"
)

func transitionsAlert(threshold time.Duration) *notificationv1.Alert {
	a := &notificationv1.Alert{Spec: notificationv1.AlertSpec{Transitions: &notificationv1.Transitions{}}}
	if a.UID = "uid"; threshold > 0 {
		a.Spec.Transitions.Threshold = &meta.Duration{Duration: threshold}
	}
	return a
}

func failed(e *event.Event) { e.Severity, e.Reason = event.SeverityError, "HealthCheckFailed" }

func succeeded(e *event.Event) { e.Reason = "ReconciliationSucceeded" }

// A failure that goes on is written again only where that makes a difference: while its message is still to be sent, and
// now and then. Of one that was sent only what its end has to say stays in memory.
func TestTransitionsWriteWhatIsNew(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, tt := range []struct {
		reason    string
		threshold time.Duration
		after     time.Duration
		changed   bool
	}{
		{"it was sent", 0, 10 * time.Second, false},
		{"it was sent, long ago", 0, 10 * time.Minute, true},
		{"it waits", time.Hour, 10 * time.Second, true},
	} {
		m, a := &Transitions{}, transitionsAlert(tt.threshold)
		m.Observe(a, sample(failed), now)
		if !m.Changed() {
			t.Errorf("%s: a failure is not written", tt.reason)
		}
		m.Observe(a, sample(failed), now.Add(tt.after))
		if m.Changed() != tt.changed {
			t.Errorf("%s: its repetition is written: %v", tt.reason, !tt.changed)
		}
		all := m.Failing()
		if len(all) != 1 || !all[0].At.Equal(now.Add(tt.after)) || (all[0].Event.Message == "") != (tt.threshold == 0) {
			t.Errorf("%s: %+v", tt.reason, all)
		}
	}
	m, a, written := &Transitions{}, transitionsAlert(0), 0
	for i := range 360 { // an hour
		m.Observe(a, sample(failed), now.Add(time.Duration(i)*10*time.Second))
		if m.Changed() {
			written++
		}
	}
	if written < 5 || written > 13 {
		t.Errorf("%d times written in an hour", written)
	}
}

// A failure that could not be sent comes up again, and nobody hears of its end before.
func TestTransitionsUntold(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, threshold := range []time.Duration{0, time.Minute} {
		m, a := &Transitions{}, transitionsAlert(threshold)
		fired := m.Observe(a, sample(failed), now)
		if threshold > 0 {
			due, _ := m.TakeDue(now.Add(threshold))
			fired = due[0].Event
		}
		now := now.Add(threshold)
		m.Untold(a.UID, fired, now.Add(time.Minute))
		if due, next := m.TakeDue(now); len(due) != 0 || !next.Equal(now.Add(time.Minute)) {
			t.Errorf("%d are due at once, the next at %s", len(due), next)
		}
		due, _ := m.TakeDue(now.Add(time.Minute))
		if len(due) != 1 || due[0].Event.Own(KeyTransition) != Fired || due[0].Event.Message != fired.Message {
			t.Fatalf("due again: %+v", due)
		}
		m.Untold(a.UID, due[0].Event, now.Add(2*time.Minute))
		if news := m.Observe(a, sample(succeeded), now); news != nil {
			t.Errorf("told of the end of what nobody has heard of: %+v", news)
		}
		m.Untold(a.UID, due[0].Event, now)
		if due, _ := m.TakeDue(now.Add(time.Hour)); len(due) != 0 {
			t.Error("what has ended comes up again")
		}
	}
}
