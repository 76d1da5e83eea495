package ocirepository

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// failConditions are present, as True, only while they are so.
var failConditions = []string{sourcev1.StorageOperationFailedCondition, sourcev1.FetchFailedCondition}

// maxThrottle is the longest pause that a registry is granted.
const maxThrottle = time.Hour

// failure is why an attempt came to nothing.
type failure struct {
	condition string
	status    metav1.ConditionStatus // of the condition; "" means True
	reason    string
	err       error
	stalled   bool
	// after is the pause that the registry has asked for.
	after time.Duration
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
	case f.stalled:
		return kernel.Stalled(f.reason, f.err)
	case f.after > 0:
		return kernel.Failed(f.reason, f.err).RetryAfter(f.after)
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
	if f.outdated {
		for _, c := range outdatedConditions(f) {
			req.SetCondition(c.Type, c.Status, c.Reason, c.Message)
		}
	}
	req.Progress(kernel.Progress{Message: attempted(before, f)})
	return fail.outcome(req)
}

// attempted is what Reconciling says after a failure.
func attempted(before *sourcev1.OCIRepositoryStatus, f *found) string {
	switch {
	case f.outdated && f.revision != "":
		return building(f)
	case f.artifact != nil:
		return "reconciliation in progress"
	case before.Artifact != nil:
		return "building artifact: disappeared from storage"
	}
	return "building artifact"
}

// building says what is being made.
func building(f *found) string {
	return fmt.Sprintf("building artifact: new revision '%s' for '%s'", f.revision, f.reference)
}

// settle writes what holds after a success and after a failure alike: the artifact that is there.
func settle(req *request, f *found) {
	st := &req.Object.Status
	st.Artifact, st.URL = f.artifact, f.url
	if f.artifact == nil {
		st.URL = ""
		req.RemoveCondition(sourcev1.ArtifactInStorageCondition)
	}
	settleVerification(req, f)
}

func succeeded(req *request, f *found, before *sourcev1.OCIRepositoryStatus) kernel.Outcome {
	recovered := false
	for _, c := range failConditions {
		recovered = recovered || req.Condition(c) != nil
		req.RemoveCondition(c)
	}
	req.RemoveCondition(sourcev1.ArtifactOutdatedCondition)
	message := fmt.Sprintf("stored artifact for digest '%s'", f.artifact.Revision)
	req.SetCondition(sourcev1.ArtifactInStorageCondition, metav1.ConditionTrue, meta.SucceededReason, message)
	if f.stored {
		observe(req.Object)
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
func observe(obj *sourcev1.OCIRepository) {
	st := &obj.Status
	st.ObservedIgnore = nil
	if ignore := obj.Spec.Ignore; ignore != nil {
		text := *ignore
		st.ObservedIgnore = &text
	}
	st.ObservedLayerSelector = obj.Spec.LayerSelector.DeepCopy()
}

func outdatedConditions(f *found) []metav1.Condition {
	return []metav1.Condition{{
		Type: sourcev1.ArtifactOutdatedCondition, Status: metav1.ConditionTrue, Reason: sourcev1.NewRevisionReason,
		Message: fmt.Sprintf("new revision '%s' for '%s'", f.revision, f.reference),
	}}
}
