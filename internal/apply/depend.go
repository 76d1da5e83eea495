package apply

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// definedKinds lists the kinds that the CRDs of a set define.
func definedKinds(set *Set) map[groupKind]bool {
	kinds := map[groupKind]bool{}
	for _, it := range set.stages[stageDefinitions] {
		if it.ref.Kind != "CustomResourceDefinition" {
			continue
		}
		group, _, _ := unstructured.NestedString(it.obj.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(it.obj.Object, "spec", "names", "kind")
		kinds[groupKind{Group: group, Kind: kind}] = true
	}
	return kinds
}

// prerequisite names the object of the same set without which the server refuses this one: a
// binding needs its role, a pod its service account.
func prerequisite(it *item) (ID, bool) {
	switch it.ref.Group + "/" + it.ref.Kind {
	case "rbac.authorization.k8s.io/RoleBinding", "rbac.authorization.k8s.io/ClusterRoleBinding":
		kind, _, _ := unstructured.NestedString(it.obj.Object, "roleRef", "kind")
		name, _, _ := unstructured.NestedString(it.obj.Object, "roleRef", "name")
		ns := it.ref.Namespace
		if kind == "ClusterRole" {
			ns = ""
		}
		return NewID(ns, name, "rbac.authorization.k8s.io", kind), name != ""
	case "/Pod":
		name, _, _ := unstructured.NestedString(it.obj.Object, "spec", "serviceAccountName")
		return NewID(it.ref.Namespace, name, "", "ServiceAccount"), name != ""
	}
	return "", false
}

// deferDependents mends refusals whose only cause is that the prerequisite stands in the same stage
// and is not written yet: when all refusals of the stage are of that sort, the prerequisites are
// written and the refused objects validated again.
func (p *pass) deferDependents(ctx context.Context, verdicts []*verdict, completed ChangeLog) error {
	byID := make(map[ID]*verdict, len(verdicts))
	for _, v := range verdicts {
		byID[v.item.id] = v
	}
	var first, again []*verdict
	for _, v := range verdicts {
		if v.err == nil {
			continue
		}
		id, ok := prerequisite(v.item)
		if !ok || byID[id] == nil || byID[id].err != nil || byID[id].decision == decideUnchanged || byID[id].decision == decideSkip {
			return nil
		}
		again = append(again, v)
		if byID[id].decision != decideDone {
			first = append(first, byID[id])
		}
	}
	if len(again) == 0 {
		return nil
	}
	for _, v := range first {
		if v.decision == decideDone {
			continue // the prerequisite of two
		}
		if err := p.writeAll(ctx, []*verdict{v}, completed); err != nil {
			return err
		}
		v.decision = decideDone
	}
	for _, v := range again {
		v.err = p.inspect(ctx, v)
		v.digest()
	}
	if ctx.Err() != nil {
		return p.interrupted(ctx, context.Cause(ctx), len(verdicts))
	}
	return nil
}
