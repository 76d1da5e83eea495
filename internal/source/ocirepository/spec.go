package ocirepository

import (
	"cmp"
	"fmt"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// checkSpec finds what no repetition would mend.
func checkSpec(obj *sourcev1.OCIRepository) *attempt.Failure {
	if err := registry.CheckURL(obj.Spec.URL); err != nil {
		return attempt.Stall(sourcev1.URLInvalidReason, fmt.Errorf("URL validation failed for '%s': %w", obj.Spec.URL, err))
	}
	ref := reference(obj)
	if ref.Digest != "" {
		if err := registry.CheckDigest(ref.Digest); err != nil {
			return attempt.Stall(sourcev1.OCIArtifactPullFailedReason, fmt.Errorf("failed to determine artifact digest: spec.ref: %w", err))
		}
		return nil
	}
	if err := ref.Check(); err != nil {
		return attempt.Stall(sourcev1.ReadOperationFailedReason, fmt.Errorf("failed to determine the artifact tag for '%s': spec.ref: %w", obj.Spec.URL, err))
	}
	return nil
}

// cloudProvider is the cloud whose identity logs in, "" for none: a static pull secret wins over it.
func cloudProvider(obj *sourcev1.OCIRepository) string {
	if obj.Spec.Provider == sourcev1.GenericProvider || obj.Spec.SecretRef != nil {
		return ""
	}
	return obj.Spec.Provider
}

// reference is spec.ref in the words of the library.
func reference(obj *sourcev1.OCIRepository) registry.Reference {
	ref := registry.Reference{PlusTags: selectorOf(obj.Spec.LayerSelector).MediaType == registry.HelmContentMediaType}
	if r := obj.Spec.Reference; r != nil {
		ref.Digest, ref.SemVer, ref.SemverFilter, ref.Tag = r.Digest, r.SemVer, r.SemverFilter, r.Tag
	}
	return ref
}

// selectorOf fills in what an absent layer selector means.
func selectorOf(s *sourcev1.OCILayerSelector) sourcev1.OCILayerSelector {
	if s == nil {
		return sourcev1.OCILayerSelector{Operation: sourcev1.OCILayerExtract}
	}
	return sourcev1.OCILayerSelector{MediaType: s.MediaType, Operation: cmp.Or(s.Operation, sourcev1.OCILayerExtract)}
}

// current tells whether the artifact is of the revision, and was made as the spec now says.
func current(obj *sourcev1.OCIRepository, revision string) bool {
	a := obj.Status.Artifact
	return a != nil && a.Revision == revision && sameSettings(obj.Spec, obj.Status)
}

// sameSettings tells whether an artifact made when the status was written would be made in the same way now.
func sameSettings(spec sourcev1.OCIRepositorySpec, status sourcev1.OCIRepositoryStatus) bool {
	want, have := spec.Ignore, status.ObservedIgnore
	sameIgnore := want == nil && have == nil || want != nil && have != nil && *want == *have
	return sameIgnore && selectorOf(spec.LayerSelector) == selectorOf(status.ObservedLayerSelector)
}
