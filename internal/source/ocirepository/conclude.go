package ocirepository

import (
	"fmt"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry"
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
	before := st.DeepCopy()
	f.Settle(req, &st.Artifact)
	st.URL = f.URL
	settleVerification(req, f)
	if fail != nil {
		return f.Failed(req, before.Artifact, fail, failConditions)
	}
	recovered := attempt.Cure(req, failConditions)
	if f.Stored {
		spec := req.Object.DeepCopy().Spec
		st.ObservedIgnore, st.ObservedLayerSelector = spec.Ignore, spec.LayerSelector
	}
	words := attempt.Words{
		Reason: meta.SucceededReason, Message: fmt.Sprintf("stored artifact for digest '%s'", f.Artifact.Revision),
		News: storedMessage(req.Object),
	}
	return f.Done(req, words, isNew(req.Object, before), recovered)
}

// storedMessage names the artifact, where it comes from, and what it was made of if its maker said so.
func storedMessage(obj *sourcev1.OCIRepository) string {
	a := obj.Status.Artifact
	text := fmt.Sprintf("stored artifact with revision '%s' from '%s'", a.Revision, obj.Spec.URL)
	source, revision := a.Metadata[registry.AnnotationSource], a.Metadata[registry.AnnotationRevision]
	if source != "" && revision != "" {
		text += fmt.Sprintf(", origin source '%s', origin revision '%s'", source, revision)
	}
	return text
}

// isNew tells whether the artifact has another content than the one before, for another reason than other bytes.
func isNew(obj *sourcev1.OCIRepository, before *sourcev1.OCIRepositoryStatus) bool {
	old := before.Artifact
	if old == nil {
		return true
	}
	sameInput := old.Revision == obj.Status.Artifact.Revision && sameSettings(obj.Spec, *before)
	return !sameInput && old.Digest != obj.Status.Artifact.Digest
}
