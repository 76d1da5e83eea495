package gitrepository

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// failConditions are present, as True, only while they are so.
var failConditions = []string{sourcev1.StorageOperationFailedCondition, sourcev1.FetchFailedCondition, sourcev1.IncludeUnavailableCondition}

// conclude turns the result of a poll into status and events.
func conclude(req *request) kernel.Outcome {
	fail, st := attempt.Of(req.Job.Err), &req.Object.Status
	f, ok := req.Job.Value.(*found)
	if !ok { // A panic of the job.
		return fail.Outcome(req, failConditions)
	}
	before := st.DeepCopy()
	f.Settle(req, &st.Artifact)
	settleVerification(req, f)
	if fail != nil {
		return f.Failed(req, before.Artifact, fail, failConditions)
	}
	recovered := attempt.Cure(req, failConditions)
	if f.Stored {
		observe(req.Object, f)
	}
	return f.Done(req, wordsOf(req.Object, f), isNew(req.Object, before), recovered)
}

// settleVerification writes what is known of the signature. A failure writes its own condition.
func settleVerification(req *request, f *found) {
	switch v := f.verified; {
	case req.Object.Spec.Verification == nil:
		req.RemoveCondition(sourcev1.SourceVerifiedCondition)
		req.Object.Status.SourceVerificationMode = nil
	case v != nil:
		req.SetCondition(sourcev1.SourceVerifiedCondition, metav1.ConditionTrue, meta.SucceededReason, v.message)
		req.Object.Status.SourceVerificationMode = &v.mode
	}
}

// wordsOf are what a success says.
func wordsOf(obj *sourcev1.GitRepository, f *found) attempt.Words {
	w := attempt.Words{
		Reason: meta.SucceededReason, Message: fmt.Sprintf("stored artifact for revision '%s'", f.Artifact.Revision),
		News: fmt.Sprintf("stored artifact for commit '%s'", f.Artifact.Revision),
	}
	if f.Stored {
		w.News = fmt.Sprintf("stored artifact for commit '%s'", shorten(f.subject))
	}
	if !pinned(obj) {
		w.Same = fmt.Sprintf("no changes since last reconciliation: observed revision '%s'", f.Artifact.Revision)
		w.SameReason = sourcev1.GitOperationSucceededReason
	}
	return w
}

// observe records how the artifact was made.
func observe(obj *sourcev1.GitRepository, f *found) {
	st, spec := &obj.Status, obj.Spec.DeepCopy()
	st.ObservedIgnore, st.ObservedSparseCheckout = spec.Ignore, spec.SparseCheckout
	st.ObservedInclude, st.IncludedArtifacts = spec.Include, f.included
	st.ObservedRecurseSubmodules = spec.RecurseSubmodules
}
