package kustomize

import (
	"cmp"
	"context"
	"fmt"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cel"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// checkDependencies waits for whoever must be ready first. The kernel wakes the object when one of them changes, so
// the delay is only a safety net.
func (c *controller) checkDependencies(ctx context.Context, req *request, t *target) *kernel.Outcome {
	follow := c.foreign.renew(t.name())
	defer follow.done()
	for i, d := range t.spec().DependsOn {
		if foreign(d) {
			if err := c.checkForeign(ctx, t, d, t.ready[i], follow); err != nil {
				return c.dependencyNotReady(err)
			}
			continue
		}
		name := types.NamespacedName{Namespace: cmp.Or(d.Namespace, t.object.Namespace), Name: d.Name}
		dep := &kustomizev1.Kustomization{}
		if err := c.m.Client().Get(ctx, name, dep); err != nil {
			return c.dependencyNotReady(fmt.Errorf("dependency '%s' not found: %w; create it, or correct spec.dependsOn", name, err))
		}
		if err := judgeDependency(ctx, t, dep, t.ready[i], c.m.Gate(kernel.GateAdditiveCELDependencyCheck)); err != nil {
			return c.dependencyNotReady(err)
		}
	}
	follow.ready()
	return nil
}

func (c *controller) dependencyNotReady(err error) *kernel.Outcome {
	after := c.m.Settings().RequeueDependency
	event := kernel.Normal("", fmt.Sprintf("Dependencies do not meet ready condition, retrying in %s", after), nil)
	event.OnChange = true
	return stop(kernel.Waiting(meta.DependencyNotReadyReason, err.Error(), after).WithEvents(event))
}

// judgeDependency says why a dependency is not ready. An expression replaces the built-in checks, unless they are
// additive.
func judgeDependency(ctx context.Context, t *target, dep *kustomizev1.Kustomization, expr *cel.ReadyExpr, additive bool) error {
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
	conditions := dep.Status.Conditions
	if len(conditions) == 0 || dep.Generation != dep.Status.ObservedGeneration || !apimeta.IsStatusConditionTrue(conditions, meta.ReadyCondition) {
		return fmt.Errorf("dependency '%s' is not ready", name)
	}
	if sameSource(t.object, dep) && dep.Status.LastAppliedRevision != t.revision() {
		return fmt.Errorf("dependency '%s' revision is not up to date", name)
	}
	return nil
}

func sameSource(a, b *kustomizev1.Kustomization) bool {
	x, y := a.Spec.SourceRef, b.Spec.SourceRef
	return x.Kind == y.Kind && x.Name == y.Name && cmp.Or(x.Namespace, a.Namespace) == cmp.Or(y.Namespace, b.Namespace)
}

func evaluate(ctx context.Context, expr *cel.ReadyExpr, self, dep *kustomizev1.Kustomization) (bool, error) {
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
