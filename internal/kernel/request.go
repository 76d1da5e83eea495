package kernel

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// Trigger is the set of causes of a pass.
type Trigger uint8

// The causes of a pass.
const (
	// TriggerNew: first pass for this object since the process started.
	TriggerNew Trigger = 1 << iota
	// TriggerSpec: the generation has not been observed yet.
	TriggerSpec
	// TriggerRequested: requestedAt has a value that was not handled yet; run the full pass.
	TriggerRequested
	// TriggerInterval: the interval, or the delay that the last outcome asked for, has passed.
	TriggerInterval
	// TriggerReference: a referent changed.
	TriggerReference
	// TriggerJob: the object's job ended.
	TriggerJob
)

// Has tells whether one of the causes in t2 is set.
func (t Trigger) Has(t2 Trigger) bool { return t&t2 != 0 }

// Progress is what a pass or job is busy with. It is written only when the work lasts longer
// than a second; its last message also stays in Reconciling when the attempt fails.
type Progress struct {
	// Message of the condition Reconciling; empty: what Kind.Attempt says, if the attempt fails.
	Message string
	// Ready is the message of Ready=Unknown, reason Progressing. When empty, Ready keeps its
	// verdict while the work goes on; only a missing or Unknown Ready takes Message.
	Ready string
	// Conditions of the kind's own to set with it.
	Conditions []metav1.Condition
	// Change sets other fields of the status that are to be seen while the work goes on; nil: none.
	Change func(meta.Object)
}

// Host is the kernel's side of a request; tests of a kind bring their own (see kerneltest).
type Host interface {
	// Progress records what the work is at.
	Progress(Progress)
	// Checkpoint writes a change of the status at once.
	Checkpoint(ctx context.Context, change func(meta.Object)) error
	// Event sends an event at once.
	Event(Event)
	// Memory and Remember keep a value for the object as long as the process lives.
	Memory() any
	Remember(any)
}

// Request is one pass over one object.
type Request[T meta.Object] struct {
	// Object is a private copy; its Status may be changed during Reconcile, nothing else.
	Object T
	// Log carries the keys of the object; add the kind's own, such as revision.
	Log logr.Logger
	// Trigger tells why the pass runs.
	Trigger Trigger
	// Job is the result of the object's job when one has ended since the last pass, else nil.
	Job *JobResult
	// Running is the key of the job that is running for the object, or empty.
	Running string
	// Started is when the pass began; for a pass that follows jobs, when the first of the
	// chain began, so that durations in messages cover the whole attempt.
	Started time.Time

	host Host
}

// NewRequest returns a request on a host of the caller's; for tests of a kind.
func NewRequest[T meta.Object](obj T, host Host) *Request[T] {
	return &Request[T]{Object: obj, Log: logr.Discard(), Started: time.Now(), host: host}
}

// Requested returns the value of the request annotation if it was not handled yet, else "".
func (r *Request[T]) Requested() string { return pendingRequest(r.Object) }

func pendingRequest(obj meta.Object) string {
	at := requestOf(obj)
	if at == obj.GetLastHandledReconcileAt() {
		return ""
	}
	return at
}

// Progress records what the work is at. It may be called from the job.
func (r *Request[T]) Progress(p Progress) { r.host.Progress(p) }

// Checkpoint writes a change of the status at once, before the verdict, and waits for the
// answer of the API server; for what must survive a crash of the next step. change may be
// called more than once, each time on a fresh copy, and must not touch conditions. It is for
// jobs; inside Reconcile the final patch is enough.
func (r *Request[T]) Checkpoint(ctx context.Context, change func(obj T)) error {
	return r.host.Checkpoint(ctx, func(obj meta.Object) { change(obj.(T)) })
}

// Event sends an event at once, for what has already happened in the middle of the work.
func (r *Request[T]) Event(e Event) { r.host.Event(e) }

// Memory returns what Remember kept for this object in this process, nil at first.
func (r *Request[T]) Memory() any { return r.host.Memory() }

// Remember keeps a value for this object until it is deleted or the process ends.
func (r *Request[T]) Remember(v any) { r.host.Remember(v) }

// SetCondition sets a condition of the kind's own (not Ready, Reconciling or Stalled).
func (r *Request[T]) SetCondition(conditionType string, status metav1.ConditionStatus, reason, message string) {
	setCondition(r.Object, metav1.Condition{Type: conditionType, Status: status, Reason: reason, Message: message})
}

// RemoveCondition removes a condition of the kind's own.
func (r *Request[T]) RemoveCondition(conditionType string) { removeCondition(r.Object, conditionType) }

// Condition returns a copy of a condition, nil when it is not there.
func (r *Request[T]) Condition(conditionType string) *metav1.Condition {
	return conditionOf(r.Object, conditionType)
}
