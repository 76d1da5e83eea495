package helmrepository

import (
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// failConditions are present, as True, only while they are so.
var failConditions = []string{sourcev1.StorageOperationFailedCondition, sourcev1.FetchFailedCondition}

// failure is why an attempt came to nothing.
type failure struct {
	condition string
	reason    string
	err       error
	stalled   bool
	// after is the pause that the server has asked for.
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

// outcome writes the failure into the conditions. The artifact stays, and with it ArtifactInStorage, so that charts go on
// with what they have.
func (f *failure) outcome(req *request) kernel.Outcome {
	for _, c := range failConditions {
		if c != f.condition {
			req.RemoveCondition(c)
		}
	}
	req.SetCondition(f.condition, metav1.ConditionTrue, f.reason, f.err.Error())
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
func attempted(before *sourcev1.HelmRepositoryStatus, f *found) string {
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
func building(f *found) string { return fmt.Sprintf("building artifact: %s", outdated(f)) }

func outdated(f *found) string { return fmt.Sprintf("new index revision '%s'", f.revision) }

func outdatedConditions(f *found) []metav1.Condition {
	return []metav1.Condition{{
		Type: sourcev1.ArtifactOutdatedCondition, Status: metav1.ConditionTrue, Reason: sourcev1.NewRevisionReason, Message: outdated(f),
	}}
}

// settle writes what holds after a success and after a failure alike: the artifact that is there.
func settle(req *request, f *found) {
	st := &req.Object.Status
	st.Artifact, st.URL = f.artifact, f.url
	if f.artifact == nil {
		st.URL = ""
		req.RemoveCondition(sourcev1.ArtifactInStorageCondition)
	}
}

func succeeded(req *request, f *found, before *sourcev1.HelmRepositoryStatus) kernel.Outcome {
	recovered := false
	for _, c := range failConditions {
		recovered = recovered || req.Condition(c) != nil
		req.RemoveCondition(c)
	}
	req.RemoveCondition(sourcev1.ArtifactOutdatedCondition)
	message := fmt.Sprintf("stored artifact: revision '%s'", f.artifact.Revision)
	req.SetCondition(sourcev1.ArtifactInStorageCondition, metav1.ConditionTrue, meta.SucceededReason, message)
	if n := f.summary.Skipped; n > 0 {
		req.Log.Info(fmt.Sprintf("%d entries of the index are not valid and were left out", n), "problems", strings.Join(f.summary.Problems, "; "))
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

// successEvent tells what a poll that succeeded has to say, if anything, and the line for the log.
//
//   - another index is a NewArtifact;
//   - the same one after a failure is a recovery;
//   - the same one, stored again because it was lost, is nobody's business;
//   - nothing new is told in Kubernetes only, and only to somebody who asked.
func successEvent(obj *sourcev1.HelmRepository, f *found, before *sourcev1.HelmRepositoryStatus, recovered bool) (*kernel.Event, string) {
	size := int64(0)
	if obj.Status.Artifact.Size != nil {
		size = *obj.Status.Artifact.Size
	}
	told := fmt.Sprintf("stored fetched index of size %s from '%s'", humanSize(size), obj.Spec.URL)
	var e kernel.Event
	switch {
	case f.stored && (before.Artifact == nil || before.Artifact.Revision != f.artifact.Revision && before.Artifact.Digest != f.artifact.Digest):
		e = kernel.Normal("NewArtifact", told, nil)
	case recovered:
		e = kernel.Normal(meta.SucceededReason, told, nil)
	case f.stored:
		return nil, told
	default:
		told = fmt.Sprintf("artifact up-to-date with remote revision: '%s'", f.artifact.Revision)
		e = kernel.Trace(sourcev1.ArtifactUpToDateReason, told, nil)
		e.OnChange = true
	}
	return &e, told
}

// humanSize has four digits, and units of a thousand.
func humanSize(n int64) string {
	size, unit := float64(n), 0
	units := []string{"B", "kB", "MB", "GB", "TB"}
	for size >= 1000 && unit < len(units)-1 {
		size, unit = size/1000, unit+1
	}
	return fmt.Sprintf("%.4g%s", size, units[unit])
}
