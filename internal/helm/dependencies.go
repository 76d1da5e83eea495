package helm

import (
	"cmp"
	"context"
	"fmt"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cel"
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
		if err := judgeDependency(ctx, t, dep, t.ready[i], c.m.Gate(kernel.GateAdditiveCELDependencyCheck)); err != nil {
			return c.dependencyNotReady(err)
		}
	}
	return nil
}

func (c *controller) dependencyNotReady(err error) *kernel.Outcome {
	after := c.m.Settings().RequeueDependency
	message := fmt.Sprintf("dependencies do not meet ready condition (%s): retrying in %s", err, after)
	event := kernel.Normal(meta.DependencyNotReadyReason, message, nil)
	event.OnChange = true
	return stop(kernel.Waiting(meta.DependencyNotReadyReason, err.Error(), after).WithEvents(event))
}

// judgeDependency says why a dependency is not ready. An expression replaces the built-in checks, unless they are
// additive.
func judgeDependency(ctx context.Context, t *target, dep *helmv2.HelmRelease, expr *cel.ReadyExpr, additive bool) error {
	name := dep.Namespace + "/" + dep.Name
	if expr != nil {
		ready, err := evaluate(ctx, expr, t.object, dep)
		if err != nil {
			return fmt.Errorf("failed to evaluate dependency '%s': %w", name, err)
		}
		if !ready {
			return fmt.Errorf("dependency '%s' is not ready according to readyExpr eval", name)
		}
		if !additive {
			return nil
		}
	}
	if dep.Generation != dep.Status.ObservedGeneration || !apimeta.IsStatusConditionTrue(dep.Status.Conditions, meta.ReadyCondition) {
		return fmt.Errorf("dependency '%s' is not ready", name)
	}
	return nil
}

func evaluate(ctx context.Context, expr *cel.ReadyExpr, self, dep *helmv2.HelmRelease) (bool, error) {
	s, err := runtime.DefaultUnstructuredConverter.ToUnstructured(self)
	if err != nil {
		return false, err
	}
	d, err := runtime.DefaultUnstructuredConverter.ToUnstructured(dep)
	if err != nil {
		return false, err
	}
	return expr.Eval(ctx, s, d)
}
