package gitrepository

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// checkSpec finds what no repetition would mend.
func checkSpec(obj *sourcev1.GitRepository) *attempt.Failure {
	if err := gitrepo.ParseURL(obj.Spec.URL); err != nil {
		return attempt.Stall(sourcev1.URLInvalidReason, fmt.Errorf("spec.url '%s': %w; use an address such as https://host/path or ssh://git@host/path",
			gitrepo.RedactURL(obj.Spec.URL), err))
	}
	if f := checkMode(obj); f != nil {
		return f
	}
	if f := checkAnnotations(obj); f != nil {
		return f
	}
	if obj.Spec.Provider == sourcev1.GitHubProvider && obj.Spec.SecretRef == nil {
		return attempt.Stall(sourcev1.InvalidProviderConfigurationReason, access.ErrNoApp)
	}
	return nil
}

// reference is spec.ref in the words of the library.
func reference(obj *sourcev1.GitRepository) gitrepo.Reference {
	ref := obj.Spec.Reference
	if ref == nil {
		return gitrepo.Reference{}
	}
	return gitrepo.Reference{Branch: ref.Branch, Tag: ref.Tag, SemVer: ref.SemVer, Name: ref.Name, Commit: ref.Commit}
}

// current tells whether the artifact is of the revision, and was made as the spec now says, with those included.
func current(obj *sourcev1.GitRepository, rev gitrepo.Revision, included []*meta.Artifact) bool {
	a := obj.Status.Artifact
	return a != nil && canonical(a.Revision) == rev.String() && wantsLarge(obj) == hasLarge(obj) && sameInput(&obj.Spec, &obj.Status) &&
		sameArtifacts(included, obj.Status.IncludedArtifacts)
}

// sameInput tells whether the artifact was made with what the spec now says of its content, beside the revision.
func sameInput(spec *sourcev1.GitRepositorySpec, st *sourcev1.GitRepositoryStatus) bool {
	return sameIgnore(spec.Ignore, st.ObservedIgnore) &&
		spec.RecurseSubmodules == st.ObservedRecurseSubmodules &&
		slices.Equal(spec.Include, st.ObservedInclude) &&
		slices.Equal(spec.SparseCheckout, st.ObservedSparseCheckout)
}

func sameIgnore(want, have *string) bool {
	return want == nil && have == nil || want != nil && have != nil && *want == *have
}

// canonical maps the revisions of old, main/<hex> and HEAD/<hex>, to those of today.
func canonical(revision string) string {
	if strings.Contains(revision, ":") {
		return revision
	}
	i := strings.LastIndex(revision, "/")
	if i < 0 {
		return revision
	}
	if name := revision[:i]; name != "HEAD" {
		return name + "@sha1:" + revision[i+1:]
	}
	return "sha1:" + revision[i+1:]
}
