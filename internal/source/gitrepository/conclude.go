package gitrepository

import (
	"cmp"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// failConditions are present, as True, only while they are so.
var failConditions = []string{sourcev1.StorageOperationFailedCondition, sourcev1.FetchFailedCondition, sourcev1.IncludeUnavailableCondition}

// failure is why an attempt came to nothing.
type failure struct {
	condition string
	status    metav1.ConditionStatus // of the condition; "" means True
	reason    string
	err       error
	stalled   bool
	// unobserved leaves observedGeneration where it is.
	unobserved bool
	waiting    bool
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fetchFailed(reason string, err error) *failure {
	return &failure{condition: sourcev1.FetchFailedCondition, reason: reason, err: err}
}

func storageFailed(reason string, err error) *failure {
	return &failure{condition: sourcev1.StorageOperationFailedCondition, reason: reason, err: err}
}

func stalled(reason string, err error) *failure {
	return &failure{condition: sourcev1.FetchFailedCondition, reason: reason, err: err, stalled: true}
}

// wait makes a failure of it that is none: something else has to happen first, and wakes the object.
func (f *failure) wait() *failure {
	f.waiting = true
	return f
}

// outcome writes the failure into the conditions. The artifact stays, and with it ArtifactInStorage, so that
// consumers go on with what they have.
func (f *failure) outcome(req *request) kernel.Outcome {
	for _, c := range failConditions {
		if c != f.condition {
			req.RemoveCondition(c)
		}
	}
	req.SetCondition(f.condition, cmp.Or(f.status, metav1.ConditionTrue), f.reason, f.err.Error())
	switch {
	case f.unobserved:
		return kernel.Stalled(f.reason, f.err).KeepObservedGeneration()
	case f.stalled:
		return kernel.Stalled(f.reason, f.err)
	case f.waiting:
		e := kernel.Trace(f.reason, f.err.Error(), nil)
		e.OnChange = true
		return kernel.Waiting(f.reason, f.err.Error(), 0).WithEvents(e)
	}
	return kernel.Failed(f.reason, f.err).Backoff()
}

// conclude turns the result of a poll into status and events.
func conclude(req *request) kernel.Outcome {
	f, ok := req.Job.Value.(*found)
	if !ok { // A panic of the job.
		return fetchFailed(meta.FailedReason, req.Job.Err).outcome(req)
	}
	before := req.Object.Status.DeepCopy()
	settle(req, f)
	if req.Job.Err == nil {
		return succeeded(req, f, before)
	}
	var fail *failure
	if !errors.As(req.Job.Err, &fail) {
		fail = fetchFailed(meta.FailedReason, req.Job.Err)
	}
	for _, c := range f.outdated {
		req.SetCondition(c.Type, c.Status, c.Reason, c.Message)
	}
	req.Progress(kernel.Progress{Message: attempted(before, f)})
	return fail.outcome(req)
}

// attempted is what Reconciling says after a failure.
func attempted(before *sourcev1.GitRepositoryStatus, f *found) string {
	switch {
	case len(f.outdated) > 0:
		return "building artifact: " + f.outdated[0].Message
	case f.artifact != nil:
		return "reconciliation in progress"
	case before.Artifact != nil:
		return "building artifact: disappeared from storage"
	}
	return "building artifact"
}

// settle writes what holds after a success and after a failure alike: the artifact that is there.
func settle(req *request, f *found) {
	req.Object.Status.Artifact = f.artifact
	if f.artifact == nil {
		req.RemoveCondition(sourcev1.ArtifactInStorageCondition)
	}
	switch v := f.verified; {
	case req.Object.Spec.Verification == nil:
		req.RemoveCondition(sourcev1.SourceVerifiedCondition)
		req.Object.Status.SourceVerificationMode = nil
	case v != nil:
		req.SetCondition(sourcev1.SourceVerifiedCondition, metav1.ConditionTrue, meta.SucceededReason, v.message)
		req.Object.Status.SourceVerificationMode = &v.mode
	}
}

func succeeded(req *request, f *found, before *sourcev1.GitRepositoryStatus) kernel.Outcome {
	recovered := false
	for _, c := range failConditions {
		recovered = recovered || req.Condition(c) != nil
		req.RemoveCondition(c)
	}
	req.RemoveCondition(sourcev1.ArtifactOutdatedCondition)
	message := fmt.Sprintf("stored artifact for revision '%s'", f.artifact.Revision)
	req.SetCondition(sourcev1.ArtifactInStorageCondition, metav1.ConditionTrue, meta.SucceededReason, message)
	if f.stored {
		observe(req.Object, f)
	}
	e, log := successEvent(req.Object, f, before, recovered)
	o := kernel.Done(meta.SucceededReason, message).WithMetadata(map[string]string{
		"revision": f.artifact.Revision, "digest": f.artifact.Digest,
	}).WithLog(log)
	if e == nil {
		return o
	}
	return o.WithEvents(*e)
}

// observe records how the artifact was made.
func observe(obj *sourcev1.GitRepository, f *found) {
	st, spec := &obj.Status, obj.Spec.DeepCopy()
	st.ObservedIgnore, st.ObservedSparseCheckout = spec.Ignore, spec.SparseCheckout
	st.ObservedInclude, st.IncludedArtifacts = spec.Include, f.included
	st.ObservedRecurseSubmodules = spec.RecurseSubmodules
}

// outdated are the conditions of an artifact that is to be replaced for a reason.
func outdated(reason, message string) []metav1.Condition {
	return []metav1.Condition{{Type: sourcev1.ArtifactOutdatedCondition, Status: metav1.ConditionTrue, Reason: reason, Message: message}}
}
