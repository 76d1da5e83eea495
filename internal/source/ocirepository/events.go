package ocirepository

import (
	"fmt"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry"
)

// successEvent tells what a poll that succeeded has to say, if anything, and the line for the log.
//
//   - another content is a NewArtifact;
//   - the same content after a failure is a recovery;
//   - the same content, made again because it was lost, is nobody's business;
//   - nothing new is told in Kubernetes only, and only to somebody who asked.
func successEvent(obj *sourcev1.OCIRepository, f *found, before *sourcev1.OCIRepositoryStatus, recovered bool) (*kernel.Event, string) {
	told := storedMessage(obj)
	var e kernel.Event
	switch {
	case f.stored && isNew(obj, before):
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
