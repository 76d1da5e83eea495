package helmchart

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
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

func buildFailed(s step, err error) *attempt.Failure {
	return &attempt.Failure{
		Condition: s.condition, Reason: s.reason, Stalled: s.final, Unverified: s == chartVerification,
		Err: fmt.Errorf("%s: %w", s.summary, err),
	}
}

// failureOf is the failure that the error of a job is, nil if it is none.
func failureOf(err error) *attempt.Failure {
	var f *attempt.Failure
	if err == nil || errors.As(err, &f) {
		return f
	}
	return attempt.Fetch("Unknown", fmt.Errorf("unknown build error: %w", err))
}

// conclude turns the result of a poll into status and events.
func conclude(req *request) kernel.Outcome {
	fail, st := failureOf(req.Job.Err), &req.Object.Status
	f, ok := req.Job.Value.(*found)
	if !ok { // A panic of the job.
		return fail.Outcome(req, failConditions)
	}
	before := st.DeepCopy()
	f.Settle(req, &st.Artifact)
	st.URL, st.ObservedSourceArtifactRevision = f.URL, f.source
	settleVerification(req, f)
	if fail != nil {
		return f.Failed(req, before.Artifact, fail, failConditions)
	}
	recovered := attempt.Cure(req, failConditions)
	reason, message := told(req, f)
	if st.ObservedChartName = cmp.Or(f.name, st.ObservedChartName); f.Stored {
		st.ObservedValuesFiles = nil
		if req.Object.Spec.IgnoreMissingValuesFiles {
			st.ObservedValuesFiles = f.values
		}
	}
	words := attempt.Words{Reason: reason, Message: message, News: message, NewsReason: reason, RecoveredReason: reason}
	return f.Done(req, words, isNew(req.Object, before), recovered)
}

// isNew tells whether the artifact has another content than the one before, for another reason than other bytes.
func isNew(obj *sourcev1.HelmChart, before *sourcev1.HelmChartStatus) bool {
	old, now := before.Artifact, obj.Status.Artifact
	return old == nil || old.Digest != now.Digest && (old.Revision != now.Revision || before.ObservedGeneration != obj.Generation)
}

// settleVerification writes what is known of the signature. A failure writes its own condition.
func settleVerification(req *request, f *found) {
	switch v := f.verified; {
	case req.Object.Spec.Verify == nil, v != nil && v.result == verify.Ignored:
		req.RemoveCondition(sourcev1.SourceVerifiedCondition)
	case v != nil:
		req.SetCondition(sourcev1.SourceVerifiedCondition, metav1.ConditionTrue, meta.SucceededReason, v.message)
	}
}

// told is what the condition says of the artifact: what was done to make it, now or when it was made.
func told(req *request, f *found) (reason, message string) {
	if c := req.Condition(sourcev1.ArtifactInStorageCondition); !f.Stored && c != nil && c.Status == metav1.ConditionTrue {
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
