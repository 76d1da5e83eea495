package helmrepository

import (
	"fmt"
	"strings"

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
	if n := f.summary.Skipped; n > 0 {
		req.Log.Info(fmt.Sprintf("%d entries of the index are not valid and were left out", n), "problems", strings.Join(f.summary.Problems, "; "))
	}
	size := int64(0)
	if f.Artifact.Size != nil {
		size = *f.Artifact.Size
	}
	words := attempt.Words{
		Reason: meta.SucceededReason, Message: fmt.Sprintf("stored artifact: revision '%s'", f.Artifact.Revision),
		News: fmt.Sprintf("stored fetched index of size %s from '%s'", humanSize(size), req.Object.Spec.URL),
	}
	news := before == nil || before.Revision != f.Artifact.Revision && before.Digest != f.Artifact.Digest
	return f.Done(req, words, news, recovered)
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
