package install

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// roles names the cluster-wide objects after the namespace, so that two installations do not
// share them, leaves out those of components that are not chosen, and points bindings at the
// accounts that exist.
func (l *overlay) roles(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	objects = slices.DeleteFunc(objects, func(obj *unstructured.Unstructured) bool {
		owner := obj.GetLabels()[componentLabel]
		return owner != "" && !l.has(owner)
	})
	suffix := "-" + l.Namespace
	renamed := map[string]bool{}
	for _, obj := range objects {
		switch obj.GetKind() {
		case "ClusterRole", "ClusterRoleBinding", "ResourceQuota":
			renamed[obj.GetKind()+"/"+obj.GetName()] = true
			obj.SetName(obj.GetName() + suffix)
		}
	}
	var out []*unstructured.Unstructured
	for _, obj := range objects {
		if role, found, _ := unstructured.NestedString(obj.Object, "roleRef", "name"); found {
			kind, _, _ := unstructured.NestedString(obj.Object, "roleRef", "kind")
			if renamed[kind+"/"+role] {
				_ = unstructured.SetNestedField(obj.Object, role+suffix, "roleRef", "name")
			}
			l.subjects(obj)
		}
		if !l.WatchAllNamespaces {
			l.confine(obj)
		}
		out = append(out, obj)
	}
	return out
}

// subjects puts the accounts into the namespace; in the single topology one account stands for
// those of all controllers.
func (l *overlay) subjects(obj *unstructured.Unstructured) {
	list, _, _ := unstructured.NestedSlice(obj.Object, "subjects")
	var out []any
	seen := map[string]bool{}
	for _, s := range list {
		subject, ok := s.(map[string]any)
		if !ok {
			continue
		}
		name, _ := subject["name"].(string)
		if l.Topology == Single && l.bundle.known(name) {
			name = singleName
			subject["name"] = name
		}
		subject["namespace"] = l.Namespace
		if !seen[name] {
			seen[name] = true
			out = append(out, subject)
		}
	}
	_ = unstructured.SetNestedSlice(obj.Object, out, "subjects")
}

// clusterSuffix ends the names of roles about resources that have no namespace.
const clusterSuffix = "-cluster"

// confine makes the roles of a component that serves one namespace count only there. Roles that
// are not a component's, or about resources without a namespace, stay as they are.
func (l *overlay) confine(obj *unstructured.Unstructured) {
	if l.RBAC != Minimal || obj.GetLabels()[componentLabel] == "" || strings.HasSuffix(obj.GetName(), clusterSuffix+"-"+l.Namespace) {
		return
	}
	switch obj.GetKind() {
	case "ClusterRole":
		obj.SetKind("Role")
	case "ClusterRoleBinding":
		obj.SetKind("RoleBinding")
		_ = unstructured.SetNestedField(obj.Object, "Role", "roleRef", "kind")
	}
}
