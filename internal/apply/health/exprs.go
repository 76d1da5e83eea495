package health

import (
	"context"
	"fmt"
	"strings"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/internal/cel"
)

// Expr is the health of a custom kind in CEL, over the top-level fields of its objects.
type Expr struct {
	// APIVersion chooses by its group, Kind by equality; an empty Kind is every kind of the group.
	APIVersion, Kind string
	// Current is required; InProgress and Failed are looked at before it, in this order.
	Current, InProgress, Failed string
}

// Exprs are compiled expressions. A nil *Exprs has none.
type Exprs struct {
	byKind map[schema.GroupKind]*compiled
}

type compiled struct{ inProgress, failed, current *cel.Expression }

// CompileExprs compiles expressions. An error is a mistake in the object that holds them: trying
// again does not help.
func CompileExprs(exprs []Expr) (*Exprs, error) {
	out := &Exprs{byKind: map[schema.GroupKind]*compiled{}}
	for _, e := range exprs {
		gv, err := schema.ParseGroupVersion(e.APIVersion)
		if err != nil {
			return nil, fmt.Errorf("health check expression for %s %s: %w", e.APIVersion, e.Kind, err)
		}
		gk := schema.GroupKind{Group: gv.Group, Kind: e.Kind}
		if out.byKind[gk] != nil {
			return nil, fmt.Errorf("health check expressions: %s %s is listed twice, only group and kind count", e.APIVersion, e.Kind)
		}
		c, err := compileExpr(e)
		if err != nil {
			return nil, fmt.Errorf("health check expression for %s %s: %w", e.APIVersion, e.Kind, err)
		}
		out.byKind[gk] = c
	}
	return out, nil
}

func compileExpr(e Expr) (*compiled, error) {
	if strings.TrimSpace(e.Current) == "" {
		return nil, fmt.Errorf("current is required")
	}
	c := &compiled{}
	for _, f := range []struct {
		name, source string
		into         **cel.Expression
	}{{"inProgress", e.InProgress, &c.inProgress}, {"failed", e.Failed, &c.failed}, {"current", e.Current, &c.current}} {
		if strings.TrimSpace(f.source) == "" {
			continue
		}
		expr, err := cel.CompileObject(f.source)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		*f.into = expr
	}
	return c, nil
}

// lookup returns the expressions for a kind: its own before those of the whole group.
func (x *Exprs) lookup(gk schema.GroupKind) *compiled {
	if x == nil {
		return nil
	}
	if c := x.byKind[gk]; c != nil {
		return c
	}
	return x.byKind[schema.GroupKind{Group: gk.Group}]
}

// status evaluates the expressions. An evaluation error gives Unknown with the error.
func (c *compiled) status(ctx context.Context, u *unstructured.Unstructured) (status.Status, string, error) {
	if observed, ok, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration"); ok && observed != u.GetGeneration() {
		return status.InProgressStatus, "the controller has not seen the latest generation yet", nil
	}
	for _, s := range []struct {
		expr   *cel.Expression
		status status.Status
	}{{c.inProgress, status.InProgressStatus}, {c.failed, status.FailedStatus}, {c.current, status.CurrentStatus}} {
		if s.expr == nil {
			continue
		}
		yes, err := s.expr.Eval(ctx, u.Object)
		if err != nil {
			return status.UnknownStatus, "", err
		}
		if yes {
			return s.status, "", nil
		}
	}
	return status.InProgressStatus, "no health expression is true yet", nil
}
