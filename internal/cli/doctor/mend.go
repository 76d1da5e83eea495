package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// healing is a permission that somebody should get.
type healing struct {
	user, namespace, group, resource, name, path string
	verbs                                        []string
	ours                                         bool // of a controller of the installation
}

// healers collect permissions into roles: one for each user and namespace.
type healers []healing

func (h *healers) add(one healing) { *h = append(*h, one) }

// applier are the verbs that keep an object in step with its description: the API server names
// only the first of them that it misses.
var applier = []string{"get", "list", "watch", "create", "update", "patch", "delete"}

// roles returns the YAML documents, in a steady order.
func (h healers) roles() (docs []string) {
	type owner struct{ user, namespace string }
	rules := map[owner][]rbacv1.PolicyRule{}
	ours := map[owner]bool{}
	var owners []owner
	for _, one := range h {
		o := owner{one.user, one.namespace}
		if _, known := rules[o]; !known {
			owners = append(owners, o)
		}
		ours[o] = ours[o] || one.ours
		rules[o] = merge(rules[o], one)
	}
	slices.SortFunc(owners, func(a, b owner) int {
		return cmp.Or(strings.Compare(a.user, b.user), strings.Compare(a.namespace, b.namespace))
	})
	for _, o := range owners {
		docs = append(docs, pair(o.user, o.namespace, ours[o], rules[o]))
	}
	return docs
}

// merge adds to a rule with the same verbs and group, or makes one.
func merge(rules []rbacv1.PolicyRule, one healing) []rbacv1.PolicyRule {
	if one.path != "" {
		return append(rules, rbacv1.PolicyRule{NonResourceURLs: []string{one.path}, Verbs: one.verbs})
	}
	rule := rbacv1.PolicyRule{APIGroups: []string{one.group}, Resources: []string{one.resource}, Verbs: one.verbs}
	if one.name != "" {
		rule.ResourceNames = []string{one.name}
		return append(rules, rule)
	}
	for i := range rules {
		r := &rules[i]
		if r.ResourceNames == nil && slices.Equal(r.APIGroups, []string{one.group}) && slices.Equal(r.Verbs, one.verbs) {
			if !slices.Contains(r.Resources, one.resource) {
				r.Resources = append(r.Resources, one.resource)
			}
			return rules
		}
	}
	return append(rules, rule)
}

// pair writes a role and its binding. What counts in one namespace is a Role.
func pair(user, namespace string, ours bool, rules []rbacv1.PolicyRule) string {
	subject := rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}
	name := strings.NewReplacer(":", "-", "/", "-").Replace(user)
	if home, account, ok := account(user); ok {
		subject = rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: home, Name: account}
		name = home + "-" + account
	}
	name = "flux-check-" + name
	meta := map[string]any{"name": name}
	prefix := "Cluster"
	if namespace != "" {
		meta["namespace"], prefix = namespace, ""
	}
	if ours {
		meta["labels"] = map[string]any{"app.kubernetes.io/part-of": "flux"} // `flux uninstall` removes it
	}
	role := map[string]any{"apiVersion": rbacv1.SchemeGroupVersion.String(), "kind": prefix + "Role", "metadata": meta, "rules": rules}
	binding := map[string]any{
		"apiVersion": rbacv1.SchemeGroupVersion.String(), "kind": prefix + "RoleBinding", "metadata": meta,
		"roleRef":  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: prefix + "Role", Name: name},
		"subjects": []rbacv1.Subject{subject},
	}
	return document(role) + "---\n" + document(binding)
}

func document(obj any) string {
	text, err := yaml.Marshal(obj)
	if err != nil { // plain maps and strings
		return fmt.Sprintf("# %s\n", err)
	}
	return string(text)
}
