package helm

import (
	"cmp"
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// checkDependencies waits for whoever must be ready first. The kernel wakes the object when one of them changes, so
// the delay is only a safety net.
func (c *controller) checkDependencies(ctx context.Context, t *target) *kernel.Outcome {
	for i, d := range t.spec().DependsOn {
		name := types.NamespacedName{Namespace: cmp.Or(d.Namespace, t.object.Namespace), Name: d.Name}
		dep := &helmv2.HelmRelease{}
		if err := c.m.Client().Get(ctx, name, dep); err != nil {
			return c.dependencyNotReady(fmt.Errorf("unable to get '%s' dependency: %w", name, err))
		}
		if _, err := t.exprs.Judge(ctx, i, t.object, dep, c.m.Gate(kernel.GateAdditiveCELDependencyCheck)); err != nil {
			return c.dependencyNotReady(err)
		}
	}
	return nil
}

// insteadOf tells of dependencies that are not ready rather than of a source that is not: they come first, and may be
// what the source waits for.
func (c *controller) insteadOf(ctx context.Context, t *target, source *kernel.Outcome) *kernel.Outcome {
	if source.Verdict != kernel.VerdictStalled {
		if first := c.checkDependencies(ctx, t); first != nil {
			return first
		}
	}
	return source
}

func (c *controller) dependencyNotReady(err error) *kernel.Outcome {
	after := c.m.Settings().RequeueDependency
	message := fmt.Sprintf("dependencies do not meet ready condition (%s): retrying in %s", err, after)
	event := kernel.Normal(meta.DependencyNotReadyReason, message, nil)
	event.OnChange = true
	return stop(kernel.Waiting(meta.DependencyNotReadyReason, err.Error(), after).WithEvents(event))
}
