package helmchart

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/verify"
)

// failConditions are present, as True, only while they are so.
var failConditions = []string{sourcev1.StorageOperationFailedCondition, sourcev1.FetchFailedCondition, sourcev1.BuildFailedCondition}

// step of building a chart: how its failure is called, where it is shown, and whether repeating it helps.
type step struct {
	reason, summary, condition string
	final                      bool
}

var (
	chartReference    = step{"InvalidChartReference", "invalid chart reference", sourcev1.FetchFailedCondition, true}
	chartPull         = step{"ChartPullError", "chart pull error", sourcev1.FetchFailedCondition, false}
	metadataPatch     = step{"MetadataPatchError", "chart metadata patch error", sourcev1.BuildFailedCondition, true}
	valuesFiles       = step{"ValuesFilesError", "values files merge error", sourcev1.BuildFailedCondition, true}
	dependencyBuild   = step{"DependencyBuildError", "dependency build error", sourcev1.BuildFailedCondition, false}
	chartPackage      = step{"ChartPackageError", "chart package error", sourcev1.BuildFailedCondition, false}
	chartVerification = step{"ChartVerificationError", "chart verification error", sourcev1.BuildFailedCondition, false}
)

// failure is why an attempt came to nothing.
type failure struct {
	condition string
	reason    string
	err       error
	stalled   bool
	// waiting says that something else has to happen first, which wakes the object.
	waiting bool
	// unverified says that the signature is what failed.
	unverified bool
	// after is the pause that a server has asked for.
	after time.Duration
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func (f *failure) stall() *failure {
	f.stalled = true
	return f
}

func buildFailed(s step, err error) *failure {
	return &failure{
		condition: s.condition, reason: s.reason, stalled: s.final, unverified: s == chartVerification,
		err: fmt.Errorf("%s: %w", s.summary, err),
	}
}

func storageFailed(reason string, err error) *failure {
	return &failure{condition: sourcev1.StorageOperationFailedCondition, reason: reason, err: err}
}

// outcome writes the failure into the conditions. The artifact stays, and with it ArtifactInStorage, so that consumers go
// on with what they have.
func (f *failure) outcome(req *request) kernel.Outcome {
	for _, c := range failConditions {
		if c != f.condition {
			req.RemoveCondition(c)
		}
	}
	req.SetCondition(f.condition, metav1.ConditionTrue, f.reason, f.err.Error())
	if f.unverified {
		req.SetCondition(sourcev1.SourceVerifiedCondition, metav1.ConditionFalse, f.reason, f.err.Error())
	}
	switch {
	case f.waiting:
		e := kernel.Trace(f.reason, f.err.Error(), nil)
		e.OnChange = true
		return kernel.Waiting(f.reason, f.err.Error(), 0).WithEvents(e)
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
		return (&failure{condition: sourcev1.FetchFailedCondition, reason: "Unknown", err: fmt.Errorf("unknown build error: %w", req.Job.Err)}).outcome(req)
	}
	before := req.Object.Status.DeepCopy()
	settle(req, f)
	if req.Job.Err == nil {
		return succeeded(req, f, before)
	}
	var fail *failure
	if !errors.As(req.Job.Err, &fail) {
		fail = &failure{condition: sourcev1.FetchFailedCondition, reason: "Unknown", err: fmt.Errorf("unknown build error: %w", req.Job.Err)}
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
func attempted(before *sourcev1.HelmChartStatus, f *found) string {
	switch {
	case f.outdated:
		return building(f)
	case f.artifact != nil:
		return "reconciliation in progress"
	case before.Artifact != nil:
		return "building artifact: disappeared from storage"
	}
	return "building artifact"
}

// building says what is being made.
func building(f *found) string { return "building artifact: " + outdated(f) }

func outdated(f *found) string {
	return fmt.Sprintf("new '%s' chart with version '%s'", f.name, f.version)
}

func outdatedConditions(f *found) []metav1.Condition {
	return []metav1.Condition{{
		Type: sourcev1.ArtifactOutdatedCondition, Status: metav1.ConditionTrue, Reason: sourcev1.NewChartReason, Message: outdated(f),
	}}
}

// settle writes what holds after a success and after a failure alike: the artifact that is there, and the source that was
// looked at.
func settle(req *request, f *found) {
	st := &req.Object.Status
	st.Artifact, st.URL = f.artifact, f.url
	st.ObservedSourceArtifactRevision = f.source
	if f.artifact == nil {
		st.URL = ""
		req.RemoveCondition(sourcev1.ArtifactInStorageCondition)
	}
	switch v := f.verified; {
	case req.Object.Spec.Verify == nil, v != nil && v.result == verify.Ignored:
		req.RemoveCondition(sourcev1.SourceVerifiedCondition)
	case v != nil:
		req.SetCondition(sourcev1.SourceVerifiedCondition, metav1.ConditionTrue, meta.SucceededReason, v.message)
	}
}

func succeeded(req *request, f *found, before *sourcev1.HelmChartStatus) kernel.Outcome {
	recovered := false
	for _, c := range failConditions {
		recovered = recovered || req.Condition(c) != nil
		req.RemoveCondition(c)
	}
	req.RemoveCondition(sourcev1.ArtifactOutdatedCondition)
	reason, message := told(req, f)
	req.SetCondition(sourcev1.ArtifactInStorageCondition, metav1.ConditionTrue, reason, message)
	st := &req.Object.Status
	if st.ObservedChartName = cmp.Or(f.name, st.ObservedChartName); f.stored {
		st.ObservedValuesFiles = nil
		if req.Object.Spec.IgnoreMissingValuesFiles {
			st.ObservedValuesFiles = f.values
		}
	}
	e, log := successEvent(req.Object, f, before, recovered, reason, message)
	o := kernel.Done(reason, message).WithMetadata(map[string]string{
		"revision": f.artifact.Revision, "digest": f.artifact.Digest,
	}).WithLog(log)
	if e == nil {
		return o
	}
	return o.WithEvents(*e)
}

// told is what the condition says of the artifact: what was done to make it, now or when it was made.
func told(req *request, f *found) (reason, message string) {
	if c := req.Condition(sourcev1.ArtifactInStorageCondition); !f.stored && c != nil && c.Status == metav1.ConditionTrue {
		return c.Reason, c.Message
	}
	if !f.packaged {
		return sourcev1.ChartPullSucceededReason, fmt.Sprintf("pulled '%s' chart with version '%s'", f.name, f.version)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "packaged '%s' chart with version '%s'", f.name, f.version)
	if len(f.values) > 0 {
		fmt.Fprintf(&b, " and merged values files %v", f.values)
	}
	return sourcev1.ChartPackageSucceededReason, b.String()
}

// successEvent tells what a poll that succeeded has to say, if anything, and the line for the log.
//
//   - another content is news;
//   - the same content after a failure is a recovery, told in the same way;
//   - the same chart, made again because it was lost, is nobody's business;
//   - nothing new is told in Kubernetes only, and only to somebody who asked.
func successEvent(obj *sourcev1.HelmChart, f *found, before *sourcev1.HelmChartStatus, recovered bool, reason, message string) (*kernel.Event, string) {
	news := f.stored && (before.Artifact == nil || before.Artifact.Digest != f.artifact.Digest &&
		(before.Artifact.Revision != f.artifact.Revision || before.ObservedGeneration != obj.Generation))
	switch {
	case news, recovered:
		e := kernel.Normal(reason, message, nil)
		return &e, message
	case f.stored:
		return nil, message
	}
	text := fmt.Sprintf("artifact up-to-date with remote revision: '%s'", f.artifact.Revision)
	e := kernel.Trace(sourcev1.ArtifactUpToDateReason, text, nil)
	e.OnChange = true
	return &e, text
}
