package controllers

import (
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
)

// rights are what a controller reads and does beside the kinds that it serves.
type rights struct {
	// configs are the plural names of what it follows, of secrets and configmaps.
	configs []string
	// accounts says that it looks at ServiceAccounts: for image pull secrets, or whether one to
	// impersonate still exists.
	accounts bool
	// impersonates says that it acts as the ServiceAccounts that objects name.
	impersonates bool
	extra        []rbacv1.PolicyRule
	// own is what it needs in its own namespace beside its lease.
	own []rbacv1.PolicyRule
}

func rightsOf(controller string) rights {
	switch controller {
	case "source-controller":
		return rights{configs: []string{"secrets"}, accounts: true}
	case "kustomize-controller":
		return rights{configs: []string{"secrets", "configmaps"}, accounts: true, impersonates: true,
			extra: []rbacv1.PolicyRule{definitions()}}
	case "helm-controller":
		return rights{configs: []string{"secrets", "configmaps"}, accounts: true, impersonates: true,
			extra: []rbacv1.PolicyRule{rule(groupSource, "create,patch,delete", "helmcharts"), definitions()}}
	case "notification-controller":
		return rights{configs: []string{"secrets"}, accounts: true,
			extra: append(annotates(controller), rule(groupSource, "get,list,watch,patch", "externalartifacts")), own: remembers(notificationv1.MemoryName)}
	case "image-reflector-controller":
		return rights{configs: []string{"secrets"}, accounts: true,
			extra: []rbacv1.PolicyRule{rule("", "get,list,watch", "namespaces")}}
	case "image-automation-controller":
		return rights{configs: []string{"secrets"}, accounts: true}
	case "source-watcher":
		return rights{extra: []rbacv1.PolicyRule{
			rule(groupSource, "create,patch,delete", "externalartifacts"),
			rule(groupSource, "patch", "externalartifacts/status"),
		}}
	}
	return rights{}
}

// definitions lets what applies custom resources notice that their schema has changed.
func definitions() rbacv1.PolicyRule {
	return rule("apiextensions.k8s.io", "get,list,watch", "customresourcedefinitions")
}

// annotates lets receivers ask any kind of another controller for a reconciliation, and alerts follow what they have
// said fails until it works again.
func annotates(by string) []rbacv1.PolicyRule {
	var served []Resource
	for _, c := range All {
		if c.Name != by {
			served = append(served, c.Serves...)
		}
	}
	return each(served, func(group string, plurals []string) []rbacv1.PolicyRule {
		return []rbacv1.PolicyRule{rule(group, "get,list,watch,patch", plurals...)}
	})
}

// remembers lets a controller keep what outlives its pod in one ConfigMap.
func remembers(name string) []rbacv1.PolicyRule {
	named := rule("", "get,update", "configmaps")
	named.ResourceNames = []string{name}
	return []rbacv1.PolicyRule{rule("", "create", "configmaps"), named} // what is to be created has no name yet
}

// Rules returns the least rights that the controller needs in the whole cluster by itself; what
// it does to the objects that people describe it does as whom they name.
func (c Controller) Rules() []rbacv1.PolicyRule {
	own := rightsOf(c.Name)
	rules := each(c.Serves, func(group string, plurals []string) []rbacv1.PolicyRule {
		return []rbacv1.PolicyRule{
			rule(group, "get,list,watch,patch", plurals...),
			rule(group, "patch", suffixed(plurals, "/status")...),
		}
	})
	rules = append(rules, each(c.Reads, func(group string, plurals []string) []rbacv1.PolicyRule {
		return []rbacv1.PolicyRule{rule(group, "get,list,watch", plurals...)}
	})...)
	if len(own.configs) > 0 {
		rules = append(rules, rule("", "get,list,watch", own.configs...))
	}
	if own.accounts {
		rules = append(rules, rule("", "get", "serviceaccounts"))
	}
	if own.impersonates {
		rules = append(rules, rule("", "impersonate", "serviceaccounts"))
	}
	rules = append(rules, own.extra...)
	return append(rules,
		rule("", "create,patch", "events"),
		rbacv1.PolicyRule{NonResourceURLs: []string{"/livez/ping"}, Verbs: []string{"head"}})
}

// NamespaceRules returns what the controller needs in its own namespace only: its lease, which
// is not named because each shard has its own, and what it remembers.
func (c Controller) NamespaceRules() []rbacv1.PolicyRule {
	return append([]rbacv1.PolicyRule{rule("coordination.k8s.io", "get,create,update", "leases")}, rightsOf(c.Name).own...)
}

// each makes rules for the resources of each group, groups in order of their first appearance.
func each(resources []Resource, rules func(group string, plurals []string) []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	var groups []string
	plurals := map[string][]string{}
	for _, r := range resources {
		if !slices.Contains(groups, r.Group) {
			groups = append(groups, r.Group)
		}
		if !slices.Contains(plurals[r.Group], r.Plural) {
			plurals[r.Group] = append(plurals[r.Group], r.Plural)
		}
	}
	var out []rbacv1.PolicyRule
	for _, group := range groups {
		out = append(out, rules(group, plurals[group])...)
	}
	return out
}

func suffixed(list []string, suffix string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = s + suffix
	}
	return out
}

func rule(group, verbs string, resources ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: strings.Split(verbs, ",")}
}
