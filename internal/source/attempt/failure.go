package attempt

import (
	"cmp"
	"context"
	"errors"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/retryafter"
)

// maxPause is the longest pause that a server is granted.
const maxPause = time.Hour

// Failure is why an attempt came to nothing.
type Failure struct {
	// Condition that tells of it, with this status; "" means True.
	Condition string
	Status    metav1.ConditionStatus
	Reason    string
	Err       error
	// Stalled says that no repetition mends it; Unobserved that observedGeneration stays where it is even so.
	Stalled, Unobserved bool
	// Waiting says that something else has to happen first, which wakes the object.
	Waiting bool
	// Patience is how long to wait for that at most, where it may go unnoticed; zero leaves it to the interval.
	Patience time.Duration
	// Unverified says that the signature is what failed, which SourceVerified shows beside Condition.
	Unverified bool
}

// Error is the text of the cause.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Fetch is the failure to get something from outside.
func Fetch(reason string, err error) *Failure {
	return &Failure{Condition: sourcev1.FetchFailedCondition, Reason: reason, Err: err}
}

// Storage is the failure to keep something.
func Storage(reason string, err error) *Failure {
	return &Failure{Condition: sourcev1.StorageOperationFailedCondition, Reason: reason, Err: err}
}

// Stall is a failure that no repetition mends.
func Stall(reason string, err error) *Failure {
	return &Failure{Condition: sourcev1.FetchFailedCondition, Reason: reason, Err: err, Stalled: true}
}

// GateDisabled is the failure of an object that needs what a feature gate has switched off.
func GateDisabled(err error) *Failure {
	f := Stall(kernel.FeatureGateDisabledReason, err)
	f.Unobserved = true
	return f
}

// Wait makes a failure of it that is none: something else has to happen first, and wakes the object.
func (f *Failure) Wait() *Failure {
	f.Waiting = true
	return f
}

// pause is how long the server has asked to be left alone.
func (f *Failure) pause() time.Duration { return max(0, min(retryafter.Asked(f.Err), maxPause)) }

// Outcome writes the failure into the conditions; owned are all that tell of failures. The artifact stays, and with it
// ArtifactInStorage, so that consumers go on with what they have.
func (f *Failure) Outcome(req Request, owned []string) kernel.Outcome {
	for _, c := range owned {
		if c != f.Condition {
			req.RemoveCondition(c)
		}
	}
	req.SetCondition(f.Condition, cmp.Or(f.Status, metav1.ConditionTrue), f.Reason, f.Error())
	if f.Unverified {
		req.SetCondition(sourcev1.SourceVerifiedCondition, metav1.ConditionFalse, f.Reason, f.Error())
	}
	switch {
	case f.Unobserved:
		return kernel.Stalled(f.Reason, f.Err).KeepObservedGeneration()
	case f.Waiting:
		e := kernel.Trace(f.Reason, f.Error(), nil)
		e.OnChange = true
		return kernel.Waiting(f.Reason, f.Error(), f.Patience).WithEvents(e)
	case f.Stalled:
		return kernel.Stalled(f.Reason, f.Err)
	}
	return kernel.Failed(f.Reason, f.Err).RetryAfter(f.pause()).Backoff()
}

// Of is the failure that an error of a job is, whatever it is, nil if it is none.
func Of(err error) *Failure {
	var f *Failure
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return f
	}
	return Fetch(meta.FailedReason, err)
}

// Result is what a job returns: an attempt that a newer desire has ended says so.
func Result[F any](ctx context.Context, found F, fail *Failure) (any, error) {
	switch cause := context.Cause(ctx); {
	case fail == nil:
		return found, nil
	case errors.Is(cause, kernel.ErrSuperseded):
		return found, cause
	}
	return found, fail
}
