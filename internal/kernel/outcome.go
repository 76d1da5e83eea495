package kernel

import (
	"errors"
	"time"
)

// Verdict is the class of an Outcome.
type Verdict int

// The verdicts. The table in table.go says what each does.
const (
	// VerdictUnchanged: nothing was due; conditions stay as they are and the interval is not restarted.
	VerdictUnchanged Verdict = iota
	// VerdictDone: the desired state is reached.
	VerdictDone
	// VerdictWaiting: something else has to happen first; no failure, no event of its own.
	VerdictWaiting
	// VerdictWorking: a background job has the work; its end wakes the object.
	VerdictWorking
	// VerdictFailed: the attempt failed and will be repeated.
	VerdictFailed
	// VerdictStalled: no repetition helps before the object or a referent changes.
	VerdictStalled
)

// String returns the lower-case name of the verdict.
func (v Verdict) String() string {
	return [...]string{"unchanged", "done", "waiting", "working", "failed", "stalled"}[v]
}

// Outcome is what a reconciliation came to. Build one with Done, Waiting, Working, Failed,
// Stalled or Unchanged, and refine it with the With and other methods, which return a copy.
type Outcome struct {
	Verdict Verdict
	// Reason and Message become those of the Ready condition.
	Reason  string
	Message string
	// Err is the failure for the log; events carry it too unless EventMessage is given by an event.
	Err error
	// After is the delay to the next pass, with ExponentialBackoff the least one; zero takes the verdict's own: interval, retry interval.
	After time.Duration
	// Immediate asks for another pass at once.
	Immediate bool
	// ExponentialBackoff lets the next pass come by the queue's back-off instead of a fixed delay.
	ExponentialBackoff bool
	// Unobserved leaves observedGeneration where it was although the verdict is Stalled.
	Unobserved bool
	// Observed moves observedGeneration although the verdict is Failed: the spec was tried as it stands.
	Observed bool
	// StallReason and StallMessage are those of the Stalled condition where they differ from Ready's.
	StallReason, StallMessage string
	// Quiet suppresses the event that the table sends for a failure.
	Quiet bool
	// Job is the work of a Working outcome.
	Job Job
	// Metadata of the table's event, and of Events that have none.
	Metadata map[string]string
	// Events are sent after the status has been written, in order.
	Events []Event
	// LogMessage replaces the table's log line; "-" suppresses it.
	LogMessage string
}

// Done says that the desired state is reached: Ready becomes True with reason and message, and
// the next pass comes after the interval with jitter.
func Done(reason, message string) Outcome {
	return Outcome{Verdict: VerdictDone, Reason: reason, Message: message}
}

// Unchanged says that a wake-up left nothing to do: conditions and schedule stay as they are.
func Unchanged() Outcome {
	return Outcome{Verdict: VerdictUnchanged}
}

// Waiting says that something else has to happen first: Ready becomes False with reason and
// message. The references wake the object; after is the safety net.
func Waiting(reason, message string, after time.Duration) Outcome {
	return Outcome{Verdict: VerdictWaiting, Reason: reason, Message: message, After: after}
}

// Working hands work that blocks to the background pool. Progress is reported by the job.
func Working(job Job) Outcome {
	return Outcome{Verdict: VerdictWorking, Job: job}
}

// Failed says that the attempt failed with err, whose text becomes the message of Ready and of
// a Warning event. The next attempt comes after the object's retry interval, without jitter.
func Failed(reason string, err error) Outcome {
	if err == nil {
		err = errors.New("failed without a cause")
	}
	return Outcome{Verdict: VerdictFailed, Reason: reason, Message: err.Error(), Err: err}
}

// Stalled says that no repetition helps: Stalled becomes True, Ready False, a Warning event is
// sent and nothing is scheduled. A change of the object, of a referent, a request by
// annotation or a restart of the controller runs it again.
func Stalled(reason string, err error) Outcome {
	o := Failed(reason, err)
	o.Verdict = VerdictStalled
	return o
}

// RetryAfter sets a fixed delay to the next pass; with Backoff, the least one.
func (o Outcome) RetryAfter(d time.Duration) Outcome {
	o.After = d
	return o
}

// Backoff lets the next pass come by exponential back-off between the minimum and maximum
// retry delay. It is for errors of the API server and the causes that the tables mark so.
func (o Outcome) Backoff() Outcome {
	o.ExponentialBackoff = true
	return o
}

// Again asks for another pass at once.
func (o Outcome) Again() Outcome {
	o.Immediate = true
	return o
}

// WithMessage sets the message of Ready where it differs from the error's text.
func (o Outcome) WithMessage(message string) Outcome {
	o.Message = message
	return o
}

// WithEvents appends events that are sent once the status is written.
func (o Outcome) WithEvents(events ...Event) Outcome {
	o.Events = append(append([]Event(nil), o.Events...), events...)
	return o
}

// WithMetadata sets the metadata of the outcome's events that have none of their own, the
// table's event for a failure included.
func (o Outcome) WithMetadata(metadata map[string]string) Outcome {
	o.Metadata = metadata
	return o
}

// WithoutEvent suppresses the event that the table sends for a failure.
func (o Outcome) WithoutEvent() Outcome {
	o.Quiet = true
	return o
}

// WithLog replaces the log line of the table; "-" writes none.
func (o Outcome) WithLog(message string) Outcome {
	o.LogMessage = message
	return o
}

// KeepObservedGeneration leaves observedGeneration where it was although the verdict is Stalled
// (access denied, a feature gate that is off).
func (o Outcome) KeepObservedGeneration() Outcome {
	o.Unobserved = true
	return o
}

// Observe moves observedGeneration although the verdict is Failed: the spec was tried as it stands, and only time may
// help.
func (o Outcome) Observe() Outcome {
	o.Observed = true
	return o
}

// WithStall sets reason and message of the Stalled condition where they differ from those of Ready.
func (o Outcome) WithStall(reason, message string) Outcome {
	o.StallReason, o.StallMessage = reason, message
	return o
}
