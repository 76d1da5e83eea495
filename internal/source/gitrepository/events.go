package gitrepository

import (
	"strings"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
)

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
