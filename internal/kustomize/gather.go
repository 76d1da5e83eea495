package kustomize

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/depends"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// target is what one pass is after: a snapshot that nothing changes any more.
type target struct {
	// object is a private copy, its legacy fields normalised; its spec and metadata are read.
	object  *kustomizev1.Kustomization
	ref     artifact.Ref
	configs string // versions of what configReferences names; known is false when one of them is not known
	known   bool
	exprs   depends.Exprs
	timeout time.Duration
}

func (t *target) spec() *kustomizev1.KustomizationSpec { return &t.object.Spec }

func (t *target) revision() string { return t.ref.Revision }

// desire names what the target would apply, but for the generation.
func (t *target) desire() string {
	return strings.Join([]string{t.ref.Revision, t.ref.Digest.String(), t.configs}, "|")
}

// full is the desire with the generation and the identity of the object.
func (t *target) full() string {
	return string(t.object.UID) + "|" + strconv.FormatInt(t.object.Generation, 10) + "|" + t.desire()
}

func (t *target) applyKey() string  { return "apply|" + t.desire() }
func (t *target) healthKey() string { return "health|" + t.desire() }

// handOverKey and pruneKey are those of the jobs for what other Kustomizations may want.
func (t *target) handOverKey() string { return "hand-over|" + t.desire() }
func (t *target) pruneKey() string    { return "prune|" + t.desire() }

// keys are those of all jobs for the target.
func (t *target) keys() []string {
	return []string{t.applyKey(), t.handOverKey(), t.pruneKey(), t.healthKey(), t.rollbackKey()}
}

// gather takes the snapshot, or says why there is nothing to work on.
func (c *controller) gather(ctx context.Context, req *request) (*target, *kernel.Outcome) {
	t := &target{object: req.Object.DeepCopy()}
	t.object.Normalize()
	t.timeout = t.object.GetTimeout()
	for _, check := range []func(context.Context, *target) *kernel.Outcome{
		c.compileExpressions, c.checkDecryption, c.findSource,
	} {
		if stop := check(ctx, t); stop != nil {
			return nil, stop
		}
	}
	t.configs, t.known = c.m.Versions(t.object.Namespace, configReferences(t.object)) // costs no request
	return t, nil
}

func stop(o kernel.Outcome) *kernel.Outcome { return &o }

// compileExpressions compiles all CEL expressions of the spec. One that is wrong is wrong until the spec changes.
func (c *controller) compileExpressions(_ context.Context, t *target) *kernel.Outcome {
	var stopped *kernel.Outcome
	t.exprs, stopped = depends.Compile(t.spec().HealthCheckExprs, t.spec().DependsOn)
	return stopped
}

// findSource looks up the source and its artifact.
func (c *controller) findSource(ctx context.Context, t *target) *kernel.Outcome {
	ref := sourceReference(t.object)
	source, stopped := c.sourceObject(t, ref)
	if stopped != nil {
		return stopped
	}
	var reader client.Reader = c.m.Client()
	if c.m.Gate(kernel.GateDirectSourceFetch) {
		reader = c.m.Live()
	}
	err := reader.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, source)
	if apierrors.IsNotFound(err) {
		name := ref.Kind + "/" + ref.Name
		if t.spec().SourceRef.Namespace != "" {
			name = ref.String()
		}
		return stop(kernel.Waiting(meta.ArtifactFailedReason, err.Error()+"; create it, or correct spec.sourceRef", t.object.GetRetryInterval()).WithLog(fmt.Sprintf("Source '%s' not found", name)))
	}
	if err != nil {
		return stop(kernel.Failed(meta.ArtifactFailedReason, fmt.Errorf("read source %s: %w", ref, err)).Backoff())
	}
	a := source.GetArtifact()
	if a == nil {
		after := c.m.Settings().RequeueDependency
		return stop(kernel.Waiting(meta.ArtifactFailedReason, fmt.Sprintf("Source artifact not found, retrying in %s", after), after))
	}
	t.ref = artifact.RefOf(a)
	return nil
}

func (c *controller) sourceObject(t *target, ref kernel.Reference) (meta.Source, *kernel.Outcome) {
	switch ref.Kind {
	case sourcev1.GitRepositoryKind:
		return &sourcev1.GitRepository{}, nil
	case sourcev1.OCIRepositoryKind:
		return &sourcev1.OCIRepository{}, nil
	case sourcev1.BucketKind:
		return &sourcev1.Bucket{}, nil
	case sourcev1.ExternalArtifactKind:
		if !c.m.Gate(kernel.GateExternalArtifact) {
			return nil, stop(kernel.Stalled(meta.AccessDeniedReason, fmt.Errorf("can't access '%s', ExternalArtifact feature gate is disabled", ref)).KeepObservedGeneration())
		}
		return &sourcev1.ExternalArtifact{}, nil
	}
	return nil, stop(kernel.Failed(meta.ArtifactFailedReason, fmt.Errorf("source `%s` kind '%s' not supported; use GitRepository, OCIRepository, Bucket or ExternalArtifact in spec.sourceRef.kind", t.spec().SourceRef.Name, ref.Kind)).Backoff())
}
