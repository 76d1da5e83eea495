package base

import (
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/internal/controllers"
)

// ReconcilerAccount is whom objects are applied as that name no account, in an installation with
// least privilege. It is looked for in the namespace of the object: in ours it may do anything,
// so that the cluster can be kept from there; a tenant's namespace has none until somebody who
// may do so creates and binds one.
const ReconcilerAccount = "flux-reconciler"

const source = "source.toolkit.fluxcd.io"

// leastAccess are the roles of an installation in which each controller may do only what it does
// itself. What people describe is applied as the ServiceAccounts that they name.
func leastAccess() []any {
	out := []any{quota()}
	for _, c := range controllers.All {
		namespaced, clusterWide := byScope(c.Rules())
		out = append(out,
			clusterRole(c.Name, c.Name, namespaced...),
			clusterBinding(c.Name, c.Name, c.Name, c.Name))
		if len(clusterWide) > 0 {
			name := c.Name + ClusterSuffix
			out = append(out, clusterRole(name, c.Name, clusterWide...), clusterBinding(name, c.Name, name, c.Name))
		}
		out = append(out, ownRole(c), ownBinding(c.Name))
	}
	reconciler := account(ReconcilerAccount)
	delete(reconciler.Labels, ComponentLabel)
	return append(out,
		// For the gate ObjectLevelWorkloadIdentity; bind it in the namespaces concerned. Whoever may
		// create tokens of an account can do all that the account can.
		clusterRole("workload-identity", "", rule("", "get", "serviceaccounts"), rule("", "create", "serviceaccounts/token")),
		people("flux-edit", "create,delete,deletecollection,patch,update", "edit", "admin"),
		people("flux-view", "get,list,watch", "view", "edit", "admin"),
		reconciler,
		clusterBinding("cluster-reconciler", "", "cluster-admin", ReconcilerAccount),
	)
}

// ClusterSuffix ends the names of those roles of a component that are about resources without a
// namespace. An installation that serves one namespace grants the others only there.
const ClusterSuffix = "-cluster"

// byScope tells rules about resources in namespaces from those about others.
func byScope(rules []rbacv1.PolicyRule) (namespaced, clusterWide []rbacv1.PolicyRule) {
	for _, r := range rules {
		cluster := len(r.NonResourceURLs) > 0
		for _, resource := range r.Resources {
			cluster = cluster || resource == "namespaces" || resource == "customresourcedefinitions"
		}
		if cluster {
			clusterWide = append(clusterWide, r)
		} else {
			namespaced = append(namespaced, r)
		}
	}
	return namespaced, clusterWide
}

// ownRole is what a controller does in its own namespace only.
func ownRole(c controllers.Controller) *rbacv1.Role {
	return &rbacv1.Role{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacVersion, Kind: "Role"},
		ObjectMeta: meta(c.Name, c.Name),
		Rules:      c.NamespaceRules(),
	}
}

func ownBinding(name string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacVersion, Kind: "RoleBinding"},
		ObjectMeta: meta(name, name),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   subjects([]string{name}),
	}
}
