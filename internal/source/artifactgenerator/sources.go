package artifactgenerator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	extensionsv1 "github.com/gitops-toolkit/flux/api/extensions/v1beta1"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// source is one source with the artifact that it offers.
type source struct {
	alias    string
	ref      kernel.Reference
	artifact *meta.Artifact
}

// annotationRevision is where an artifact of another maker says what it was made from.
const annotationRevision = "org.opencontainers.image.revision"

// origin is the revision that the source was itself made from, else its own.
func (s source) origin() string {
	if r := s.artifact.Metadata[annotationRevision]; r != "" {
		return r
	}
	return s.artifact.Revision
}

// sources reads all sources. One that is missing, or has no artifact yet, is waited for.
func (c *controller) sources(ctx context.Context, obj *extensionsv1.ArtifactGenerator) ([]source, *failure) {
	var out []source
	for _, s := range obj.Spec.Sources {
		ref := referenceOf(obj, s)
		artifact, err := c.artifact(ctx, ref)
		switch {
		case apierrors.IsNotFound(err):
			return nil, c.unready(fmt.Errorf("get sources failed: source '%s' is not found; create it, or correct spec.sources", ref))
		case err != nil:
			return nil, c.unready(fmt.Errorf("get sources failed: source '%s': %w", ref, err))
		case artifact == nil:
			return nil, c.unready(fmt.Errorf("get sources failed: source '%s' is not ready", ref))
		}
		out = append(out, source{alias: s.Alias, ref: ref, artifact: artifact})
	}
	return out, nil
}

// unready comes back after --requeue-dependency; the change of a source wakes earlier.
func (c *controller) unready(err error) *failure {
	return &failure{reason: reasonSourceFetchFailed, err: err,
		retry: kernel.Failed(reasonSourceFetchFailed, err).RetryAfter(c.m.Settings().RequeueDependency)}
}

func (c *controller) artifact(ctx context.Context, ref kernel.Reference) (*meta.Artifact, error) {
	var obj interface {
		client.Object
		GetArtifact() *meta.Artifact
	}
	switch ref.Kind {
	case sourcev1.GitRepositoryKind:
		obj = &sourcev1.GitRepository{}
	case sourcev1.OCIRepositoryKind:
		obj = &sourcev1.OCIRepository{}
	case sourcev1.BucketKind:
		obj = &sourcev1.Bucket{}
	case sourcev1.HelmChartKind:
		obj = &sourcev1.HelmChart{}
	case sourcev1.ExternalArtifactKind:
		obj = &sourcev1.ExternalArtifact{}
	default:
		return nil, fmt.Errorf("the kind '%s' is no source", ref.Kind)
	}
	if err := c.reader().Get(ctx, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, obj); err != nil {
		return nil, err
	}
	return obj.GetArtifact(), nil
}

// digestOf names what the sources offer, as status.observedSourcesDigest has it.
func digestOf(sources []source) string {
	var parts []string
	for _, s := range sources {
		parts = append(parts, fmt.Sprintf("%s=[digest=%s,revision=%s,url=%s]", s.alias, s.artifact.Digest, s.artifact.Revision, s.artifact.URL))
	}
	slices.Sort(parts)
	sum := sha256.Sum256([]byte(strings.Join(parts, "|")))
	return "sha256:" + hex.EncodeToString(sum[:])
}
