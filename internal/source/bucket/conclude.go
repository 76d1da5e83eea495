package bucket

import (
	"fmt"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// failConditions are present, as True, only while they are so.
var failConditions = []string{sourcev1.StorageOperationFailedCondition, sourcev1.FetchFailedCondition}

// conclude turns the result of a poll into status and events.
func conclude(req *request) kernel.Outcome {
	fail, st := attempt.Of(req.Job.Err), &req.Object.Status
	f, ok := req.Job.Value.(*found)
	if !ok { // A panic of the job.
		return fail.Outcome(req, failConditions)
	}
	before := st.Artifact
	f.Settle(req, &st.Artifact)
	st.URL = f.URL
	if fail != nil {
		return f.Failed(req, before, fail, failConditions)
	}
	recovered := attempt.Cure(req, failConditions)
	if f.Stored {
		st.ObservedIgnore = req.Object.DeepCopy().Spec.Ignore
	}
	words := attempt.Words{
		Reason: meta.SucceededReason, Message: fmt.Sprintf("stored artifact: revision '%s'", f.Artifact.Revision),
		News: fmt.Sprintf("artifact up-to-date with remote revision: '%s'", f.Artifact.Revision),
	}
	if f.Stored {
		words.News = fmt.Sprintf("stored artifact with %d fetched files from '%s' bucket", f.objects, req.Object.Spec.BucketName)
	}
	return f.Done(req, words, before == nil || before.Revision != f.Artifact.Revision, recovered)
}
