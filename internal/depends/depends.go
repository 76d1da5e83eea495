// Package depends holds what the spec of an object says in CEL: when a dependency is ready (spec.dependsOn[].readyExpr)
// and how objects of custom kinds fare (spec.healthCheckExprs), in the words of the tables.
package depends

import (
	"context"
	"fmt"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply/health"
	"github.com/gitops-toolkit/flux/internal/cel"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Exprs are the compiled expressions of a spec. The zero value has none.
type Exprs struct {
	// Health judges objects of custom kinds.
	Health *health.Exprs

	ready map[int]*cel.ReadyExpr // by index of spec.dependsOn
}

// Compile compiles all expressions of a spec. The outcome says what is wrong with one of them, which it is until the
// spec changes; it is nil when all is well.
func Compile(checks []meta.CustomHealthCheck, on []meta.DependencyReference) (Exprs, *kernel.Outcome) {
	exprs := make([]health.Expr, len(checks))
	for i, c := range checks {
		exprs[i] = health.Expr{APIVersion: c.APIVersion, Kind: c.Kind, Current: c.Current, InProgress: c.InProgress, Failed: c.Failed}
	}
	compiled, err := health.CompileExprs(exprs)
	if err != nil {
		return Exprs{}, terminal(err)
	}
	out := Exprs{Health: compiled, ready: map[int]*cel.ReadyExpr{}}
	for i, d := range on {
		if d.ReadyExpr == "" {
			continue
		}
		if out.ready[i], err = cel.CompileReady(d.ReadyExpr); err != nil {
			return Exprs{}, terminal(fmt.Errorf("failed to evaluate dependency %s: %w", d.Name, err))
		}
	}
	return out, nil
}

func terminal(err error) *kernel.Outcome {
	//lint:ignore ST1005 the text of the tables
	err = fmt.Errorf("Reconciliation failed terminally due to configuration error: %w", err)
	o := kernel.Stalled(meta.InvalidCELExpressionReason, err)
	return &o
}

// Ask evaluates the expression for the dependency at an index of spec.dependsOn; asked is false where it has none. The
// error says why the dependency is not ready.
func (e Exprs) Ask(ctx context.Context, i int, self, dep runtime.Object, subject string) (asked bool, err error) {
	expr := e.ready[i]
	if expr == nil {
		return false, nil
	}
	s, err := runtime.DefaultUnstructuredConverter.ToUnstructured(self)
	if err != nil {
		return true, err
	}
	d, err := runtime.DefaultUnstructuredConverter.ToUnstructured(dep)
	if err != nil {
		return true, err
	}
	ready, err := expr.Eval(ctx, s, d)
	if err != nil {
		return true, fmt.Errorf("failed to evaluate dependency '%s': %w", subject, err)
	}
	if !ready {
		return true, fmt.Errorf("dependency '%s' is not ready according to readyExpr eval", subject)
	}
	return true, nil
}

// Judge says why a dependency of one of our own kinds is not ready. An expression replaces the built-in checks unless
// they are additive; decided tells that it did, so that nothing else is to be looked at.
func (e Exprs) Judge(ctx context.Context, i int, self, dep meta.Object, additive bool) (decided bool, err error) {
	name := dep.GetNamespace() + "/" + dep.GetName()
	asked, err := e.Ask(ctx, i, self, dep, name)
	if err != nil || asked && !additive {
		return true, err
	}
	if dep.GetGeneration() != dep.GetObservedGeneration() || !apimeta.IsStatusConditionTrue(dep.GetConditions(), meta.ReadyCondition) {
		return true, fmt.Errorf("dependency '%s' is not ready", name)
	}
	return false, nil
}
