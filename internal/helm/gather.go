package helm

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/depends"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// target is what one pass is after: a snapshot that nothing changes any more.
type target struct {
	// object is a private copy, its legacy fields normalised. Its spec and metadata are read; attempts work on copies.
	object *helmv2.HelmRelease
	source kernel.Reference
	ref    artifact.Ref
	// marked says that the chart's version is marked with the digest of its artifact.
	marked  bool
	configs string // versions of what configReferences names; known is false when one of them is not known
	known   bool
	exprs   depends.Exprs
}

func (t *target) spec() *helmv2.HelmReleaseSpec { return &t.object.Spec }

func (t *target) name() types.NamespacedName {
	return types.NamespacedName{Namespace: t.object.Namespace, Name: t.object.Name}
}

// key names the desire for the job; the kernel adds the generation.
func (t *target) key() string {
	return strings.Join([]string{"release", t.ref.Revision, t.ref.Digest.String(), t.configs}, "|")
}

// full is the key with the generation and the identity of the object.
func (t *target) full() string {
	return string(t.object.UID) + "|" + strconv.FormatInt(t.object.Generation, 10) + "|" + t.key()
}

func stop(o kernel.Outcome) *kernel.Outcome { return &o }

// gather takes the snapshot, or says why there is nothing to work on.
func (c *controller) gather(ctx context.Context, req *request) (*target, *kernel.Outcome) {
	t := &target{object: req.Object.DeepCopy()}
	t.object.Normalize()
	for _, check := range []func(context.Context, *request, *target) *kernel.Outcome{
		c.checkSpec, c.compileExpressions, c.keepHelmChart,
	} {
		if stopped := check(ctx, req, t); stopped != nil {
			return nil, stopped
		}
	}
	if stopped := c.findSource(ctx, t); stopped != nil {
		return nil, c.insteadOf(ctx, t, stopped)
	}
	t.configs, t.known = c.m.Versions(t.object.Namespace, configReferences(t.object)) // costs no request
	return t, nil
}

// invalidChartReason is that of an object that the API server should have refused.
const invalidChartReason = "InvalidChartReference"

func (c *controller) checkSpec(_ context.Context, _ *request, t *target) *kernel.Outcome {
	if (t.spec().Chart == nil) == (t.spec().ChartRef == nil) {
		return stop(kernel.Stalled(invalidChartReason, errors.New("invalid Chart reference: set exactly one of spec.chart and spec.chartRef")))
	}
	for i, d := range t.spec().DependsOn {
		if d.Kind != "" && d.Kind != helmv2.HelmReleaseKind {
			return stop(kernel.Stalled(meta.DependencyNotReadyReason, fmt.Errorf(
				"spec.dependsOn[%d]: a HelmRelease waits for HelmReleases only, not for the %s '%s': let a Kustomization that applies this object depend on it", i, d.Kind, d.Name)))
		}
	}
	return nil
}

// compileExpressions compiles all CEL expressions of the spec. One that is wrong is wrong until the spec changes.
func (c *controller) compileExpressions(_ context.Context, _ *request, t *target) *kernel.Outcome {
	var stopped *kernel.Outcome
	t.exprs, stopped = depends.Compile(t.spec().HealthCheckExprs, t.spec().DependsOn)
	return stopped
}
