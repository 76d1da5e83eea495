package base

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const rbacVersion = rbacv1.GroupName + "/v1"

// groups are all groups of the toolkit.
var groups = []string{
	"source.toolkit.fluxcd.io", "kustomize.toolkit.fluxcd.io", "helm.toolkit.fluxcd.io",
	"notification.toolkit.fluxcd.io", "image.toolkit.fluxcd.io", "source.extensions.fluxcd.io",
}

// fullAccess are the roles of the default installation: every controller may work with all kinds
// of the toolkit, and those that apply what people describe may do anything.
func fullAccess() []any {
	return []any{
		quota(),
		clusterRole("crd-controller", "", controllerRules()...),
		people("flux-edit", "create,delete,deletecollection,patch,update", "edit", "admin"),
		people("flux-view", "get,list,watch", "view", "edit", "admin"),
		clusterBinding("cluster-reconciler", "", "cluster-admin", "kustomize-controller", "helm-controller"),
		clusterBinding("crd-controller", "", "crd-controller", names()...),
	}
}

func controllerRules() []rbacv1.PolicyRule {
	var rules []rbacv1.PolicyRule
	for _, group := range groups {
		rules = append(rules, rule(group, "*", "*"))
	}
	return append(rules,
		rule("", "get,list,watch", "namespaces", "secrets", "configmaps", "serviceaccounts"),
		rule("", "create,patch", "events"),
		rule("", "get,list,watch,create,update,patch,delete", "configmaps"),
		rule("", "get,update,patch", "configmaps/status"),
		rule("coordination.k8s.io", "get,list,watch,create,update,patch,delete", "leases"),
		rule("", "create", "serviceaccounts/token"),
		rbacv1.PolicyRule{NonResourceURLs: []string{"/livez/ping"}, Verbs: []string{"head"}},
	)
}

// people aggregates rights on all kinds of the toolkit to the cluster's own roles for people.
func people(name, verbs string, to ...string) *rbacv1.ClusterRole {
	role := clusterRole(name, "", rbacv1.PolicyRule{APIGroups: groups, Resources: []string{"*"}, Verbs: strings.Split(verbs, ",")})
	for _, target := range to {
		role.Labels["rbac.authorization.k8s.io/aggregate-to-"+target] = "true"
	}
	return role
}

// quota allows pods of a cluster's own priority outside kube-system where that is restricted.
func quota() *corev1.ResourceQuota {
	return &corev1.ResourceQuota{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ResourceQuota"},
		ObjectMeta: meta("critical-pods", ""),
		Spec: corev1.ResourceQuotaSpec{
			Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("1000")},
			ScopeSelector: &corev1.ScopeSelector{MatchExpressions: []corev1.ScopedResourceSelectorRequirement{{
				ScopeName: corev1.ResourceQuotaScopePriorityClass, Operator: corev1.ScopeSelectorOpIn,
				Values: []string{"system-node-critical", "system-cluster-critical"},
			}}},
		},
	}
}

func clusterRole(name, component string, rules ...rbacv1.PolicyRule) *rbacv1.ClusterRole {
	role := &rbacv1.ClusterRole{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacVersion, Kind: "ClusterRole"},
		ObjectMeta: meta(name, component),
		Rules:      rules,
	}
	role.Namespace = ""
	return role
}

func clusterBinding(name, component, role string, accounts ...string) *rbacv1.ClusterRoleBinding {
	binding := &rbacv1.ClusterRoleBinding{
		TypeMeta:   metav1.TypeMeta{APIVersion: rbacVersion, Kind: "ClusterRoleBinding"},
		ObjectMeta: meta(name, component),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   subjects(accounts),
	}
	binding.Namespace = ""
	return binding
}

func subjects(accounts []string) []rbacv1.Subject {
	var out []rbacv1.Subject
	for _, name := range accounts {
		out = append(out, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Name: name, Namespace: Namespace})
	}
	return out
}

func rule(group, verbs string, resources ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: strings.Split(verbs, ",")}
}

func names() []string {
	var out []string
	for _, p := range pods {
		out = append(out, p.name)
	}
	return out
}
