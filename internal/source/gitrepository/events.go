package gitrepository

import (
	"fmt"
	"strings"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// successEvent tells what a poll that succeeded has to say, if anything, and the line for the log.
//
//   - another content is a NewArtifact;
//   - the same content after a failure is a recovery;
//   - the same content, archived again because it was lost, is nobody's business: other bytes for the same revision
//     wake no consumer;
//   - nothing new is told in Kubernetes only, and only to somebody who asked.
func successEvent(obj *sourcev1.GitRepository, f *found, before *sourcev1.GitRepositoryStatus, recovered bool) (*kernel.Event, string) {
	told := fmt.Sprintf("stored artifact for commit '%s'", f.artifact.Revision)
	if f.stored {
		told = fmt.Sprintf("stored artifact for commit '%s'", shorten(f.subject))
	}
	var e kernel.Event
	switch {
	case f.stored && isNew(obj, before):
		e = kernel.Normal("NewArtifact", told, nil)
	case recovered:
		e = kernel.Normal(meta.SucceededReason, told, nil)
	case f.stored:
		return nil, told
	default:
		told = unchanged(obj, f.artifact.Revision)
		e = kernel.Trace(unchangedReason(obj), told, nil)
		e.OnChange = true
	}
	return &e, told
}

// isNew tells whether the artifact has another content than the one before, for another reason than other bytes.
func isNew(obj *sourcev1.GitRepository, before *sourcev1.GitRepositoryStatus) bool {
	old := before.Artifact
	if old == nil {
		return true
	}
	same := canonical(old.Revision) == obj.Status.Artifact.Revision && sameInput(&obj.Spec, before) &&
		old.Metadata[largeAnnotation] == obj.Status.Artifact.Metadata[largeAnnotation] &&
		sameArtifacts(before.IncludedArtifacts, obj.Status.IncludedArtifacts)
	return !same && old.Digest != obj.Status.Artifact.Digest
}

// pinned references are looked up anew each time by upstream, which words the result otherwise.
func pinned(obj *sourcev1.GitRepository) bool {
	ref := reference(obj)
	return ref.Commit != "" || ref.Name == "" && ref.Tag == "" && ref.SemVer != ""
}

func unchanged(obj *sourcev1.GitRepository, revision string) string {
	if pinned(obj) {
		return fmt.Sprintf("artifact up-to-date with remote revision: '%s'", revision)
	}
	return fmt.Sprintf("no changes since last reconciliation: observed revision '%s'", revision)
}

func unchangedReason(obj *sourcev1.GitRepository) string {
	if pinned(obj) {
		return sourcev1.ArtifactUpToDateReason
	}
	return sourcev1.GitOperationSucceededReason
}

// maxSubject is how many characters of a commit's subject an event repeats.
const maxSubject = 50

func shorten(subject string) string {
	subject = strings.ToValidUTF8(subject, "?")
	runes := []rune(subject)
	if len(runes) <= maxSubject {
		return subject
	}
	return string(runes[:maxSubject]) + "..."
}
