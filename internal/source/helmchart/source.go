package helmchart

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
	"github.com/gitops-toolkit/flux/internal/source/helmaccess"
)

// Reasons of FetchFailed that are about the source.
const (
	sourceUnavailableReason     = "SourceUnavailable"
	unsupportedSourceKindReason = "UnsupportedSourceKind"
)

// source is where a chart comes from, as it was when the pass began.
type source struct {
	kind, name string
	// artifact of the source; nil for a registry.
	artifact *meta.Artifact
	// repository is set for a HelmRepository.
	repository *sourcev1.HelmRepository
	// state changes with everything that the chart may depend on.
	state string
}

func (s *source) isRegistry() bool { return s.repository != nil && helmaccess.IsRegistry(s.repository) }

// revision of the source that the status tells.
func (s *source) revision() string {
	if s.artifact == nil {
		return ""
	}
	return s.artifact.Revision
}

// lane is the host that the job may have to wait for.
func (s *source) lane() string {
	if s.repository == nil {
		return ""
	}
	return helmaccess.Host(s.repository.Spec.URL)
}

// source reads the source from the cache, which wakes us when it changes.
func (c *controller) source(ctx context.Context, obj *sourcev1.HelmChart) (*source, *attempt.Failure) {
	ref := obj.Spec.SourceRef
	kinds := map[string]func() client.Object{
		sourcev1.HelmRepositoryKind: func() client.Object { return &sourcev1.HelmRepository{} },
		sourcev1.GitRepositoryKind:  func() client.Object { return &sourcev1.GitRepository{} },
		sourcev1.BucketKind:         func() client.Object { return &sourcev1.Bucket{} },
	}
	make, ok := kinds[ref.Kind]
	if !ok {
		return nil, attempt.Stall(unsupportedSourceKindReason, fmt.Errorf(
			"failed to get source: unsupported source kind '%s'; spec.sourceRef.kind must be one of: HelmRepository, GitRepository, Bucket", ref.Kind))
	}
	found := make()
	err := c.objects.Get(ctx, types.NamespacedName{Namespace: obj.Namespace, Name: ref.Name}, found)
	if err != nil {
		err = fmt.Errorf("failed to get source: %w", err)
		if apierrors.IsNotFound(errors.Unwrap(err)) {
			err = fmt.Errorf("%w; create the %s, or correct spec.sourceRef", err, ref.Kind)
		}
		return nil, attempt.Fetch(sourceUnavailableReason, err)
	}
	s := &source{kind: ref.Kind, name: ref.Name}
	if s.repository, ok = found.(*sourcev1.HelmRepository); ok {
		s.repository = s.repository.DeepCopy()
		s.repository.Normalize()
	}
	if a := found.(meta.Source).GetArtifact(); a != nil && !s.isRegistry() {
		s.artifact = a.DeepCopy()
		s.artifact.Normalize()
	}
	if s.artifact == nil && !s.isRegistry() {
		return nil, noArtifact(s)
	}
	s.state = fmt.Sprintf("%s/%s", found.GetUID(), s.revision())
	if s.repository != nil {
		s.state += fmt.Sprintf("/%d", found.GetGeneration())
	}
	return s, nil
}

func noArtifact(s *source) *attempt.Failure {
	return attempt.Fetch(sourcev1.NoSourceArtifactReason, fmt.Errorf("no artifact available for %s source '%s'", s.kind, s.name)).Wait()
}

// patience is how long a file that is gone is waited for before another look: its source makes it anew, perhaps without a
// change that wakes us.
const patience = 2 * time.Second

// lost is no failure worth an alert: after a restart without a volume every source makes its files anew.
func lost(s *source) *attempt.Failure {
	f := attempt.Fetch(sourcev1.NoSourceArtifactReason, fmt.Errorf(
		"no artifact available for %s source '%s': its file is gone from the storage, and comes back when the source is reconciled", s.kind, s.name)).Wait()
	f.Patience = patience
	return f
}

var chartName = regexp.MustCompile(`^([-a-z0-9]+/?\.?)+$`)

// checkSpec finds what no repetition would mend.
func checkSpec(obj *sourcev1.HelmChart, s *source) *attempt.Failure {
	if s.repository != nil && !chartName.MatchString(obj.Spec.Chart) {
		return buildFailed(chartReference, fmt.Errorf(
			"invalid chart name '%s', a valid name must be lower case letters and numbers and MAY be separated with dashes (-), slashes (/) or periods (.)", obj.Spec.Chart))
	}
	if obj.Spec.Verify != nil && !s.isRegistry() {
		f := buildFailed(chartVerification, fmt.Errorf(
			"spec.verify works for charts of a HelmRepository of the type oci only, and '%s' is not one; remove the field, or take the chart from a registry", s.name))
		f.Stalled = true
		return f
	}
	return nil
}
