package kustomize

import (
	"cmp"
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// checkDependencies waits for whoever must be ready first. The kernel wakes the object when one of them changes, so
// the delay is only a safety net.
func (c *controller) checkDependencies(ctx context.Context, req *request, t *target) *kernel.Outcome {
	follow := c.foreign.renew(t.name())
	defer follow.done()
	for i, d := range t.spec().DependsOn {
		if foreign(d) {
			if err := c.checkForeign(ctx, t, i, follow); err != nil {
				return c.dependencyNotReady(err)
			}
			continue
		}
		name := types.NamespacedName{Namespace: cmp.Or(d.Namespace, t.object.Namespace), Name: d.Name}
		dep := &kustomizev1.Kustomization{}
		if err := c.m.Client().Get(ctx, name, dep); err != nil {
			return c.dependencyNotReady(fmt.Errorf("dependency '%s' not found: %w; create it, or correct spec.dependsOn", name, err))
		}
		if err := judgeDependency(ctx, t, i, dep, c.m.Gate(kernel.GateAdditiveCELDependencyCheck)); err != nil {
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

// judgeDependency says why a dependency is not ready. One that is made of the same source has to be as new as we are,
// unless an expression decides.
func judgeDependency(ctx context.Context, t *target, i int, dep *kustomizev1.Kustomization, additive bool) error {
	if decided, err := t.exprs.Judge(ctx, i, t.object, dep, additive); decided {
		return err
	}
	if sameSource(t.object, dep) && dep.Status.LastAppliedRevision != t.revision() {
		return fmt.Errorf("dependency '%s/%s' revision is not up to date", dep.Namespace, dep.Name)
	}
	return nil
}

func sameSource(a, b *kustomizev1.Kustomization) bool {
	x, y := a.Spec.SourceRef, b.Spec.SourceRef
	return x.Kind == y.Kind && x.Name == y.Name && cmp.Or(x.Namespace, a.Namespace) == cmp.Or(y.Namespace, b.Namespace)
}
