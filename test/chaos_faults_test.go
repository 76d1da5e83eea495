package test

import (
	"fmt"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/test/harness"
)

// TestKilledBetweenApplyAndStatus has the API server refuse the status of what was applied, kills
// the controller, and lets it start again: it reports what is there and writes nothing twice.
func TestKilledBetweenApplyAndStatus(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a sandbox of its own")
	}
	i := maroon(t, "between")
	app := fleet{"app": {"a": "v1", "b": "v1"}}
	first := i.commit(map[string]string{"app/a.yaml": configMap("a", "v1"), "app/b.yaml": configMap("b", "v1")})
	i.createFleet(app, "10m")
	i.ready("Kustomization", "app", first)

	i.denyStatus(true)
	second := i.commit(map[string]string{"app/a.yaml": configMap("a", "v2")})
	app["app"]["a"] = "v2"
	i.holds("ConfigMap", "a", "v2", "data", "key")
	i.kustomize.Kill()
	if strings.Contains(conditionOf(i.get("Kustomization", "app"), "Ready").message, second) {
		t.Fatal("the status was written in spite of the policy")
	}
	i.denyStatus(false)
	churn, err := harness.FollowChurn(i.ctx, i.dyn, configMaps, i.ns)
	i.must(err, "watch the ConfigMaps")
	i.requests()
	i.must(i.kustomize.Start(i.ctx), "start kustomize-controller again")
	i.ready("Kustomization", "app", second)
	i.holdsExactly(app)
	changes, idle, err := churn.Stop()
	i.must(err, "follow the ConfigMaps")
	reqs := i.requests()
	t.Logf("after the restart: %s", harness.Summary(reqs))
	if changes > 0 || len(idle) > 0 {
		t.Errorf("the restart wrote %d changes, and without one %v", changes, idle)
	}
}

// denyStatus adds or removes an admission policy that refuses kustomize-controller every status,
// and waits until it has effect.
func (i *island) denyStatus(deny bool) {
	i.Helper()
	const policy = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-status}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules: [{apiGroups: [kustomize.toolkit.fluxcd.io], apiVersions: ["*"], operations: [UPDATE], resources: [kustomizations/status]}]
  validations: [{expression: "false", message: "no status today"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-status}
spec: {policyName: no-status, validationActions: [Deny]}
`
	apiVersions["ValidatingAdmissionPolicy"] = "admissionregistration.k8s.io/v1"
	apiVersions["ValidatingAdmissionPolicyBinding"] = "admissionregistration.k8s.io/v1"
	if deny {
		i.applyCluster(policy)
	} else {
		for _, kind := range []string{"ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"} {
			i.must(i.c.Delete(i.ctx, i.object(kind, "no-status")), "delete the policy")
		}
	}
	for n := 0; i.ctx.Err() == nil; n++ {
		probe := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"status":{"lastHandledReconcileAt":"probe %d"}}`, n))
		err := i.c.Status().Patch(i.ctx, i.object("Kustomization", "app"), probe)
		if refused := err != nil && strings.Contains(err.Error(), "no status today"); refused == deny {
			return
		}
	}
	i.Fatal("the policy never had effect")
}

// applyCluster applies documents of cluster-scoped kinds.
func (i *island) applyCluster(text string) {
	i.Helper()
	for doc := range strings.SplitSeq(text, "\n---\n") {
		o := &unstructured.Unstructured{}
		i.must(yaml.Unmarshal([]byte(doc), &o.Object), "parse the scenario's YAML")
		i.must(i.c.Apply(i.ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("scenario"), client.ForceOwnership), "apply "+o.GetKind())
	}
}

// TestWatchForbidden takes from the controller's own account all but what its own kinds need: the
// drift of what a tenant's account applies is found at the interval, and nothing complains.
func TestWatchForbidden(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a sandbox of its own")
	}
	i := maroon(t, "unwatched")
	i.kustomize.Stop()
	i.leastRights()
	i.must(i.kustomize.Start(i.ctx), "start kustomize-controller with the least rights")
	i.commit(map[string]string{"app/service.yaml": "{apiVersion: v1, kind: Service, metadata: {name: svc}, spec: {ports: [{port: 80}]}}"})
	i.apply(`
apiVersion: v1
kind: ServiceAccount
metadata: {name: tenant}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: tenant}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}
subjects: [{kind: ServiceAccount, name: tenant, namespace: unwatched}]
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: podinfo}
spec: {interval: 10m, url: $URL}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: app}
spec: {interval: 3s, path: app, prune: true, targetNamespace: $NS, serviceAccountName: tenant, sourceRef: {kind: GitRepository, name: podinfo}}
`)
	i.ready("Kustomization", "app", "")
	for range 2 {
		before := i.exists("Service", "svc")
		i.must(i.c.Delete(i.ctx, before), "delete the Service")
		i.await("Service", "svc", "another one", func(o *unstructured.Unstructured) bool { return o != nil && o.GetUID() != before.GetUID() })
	}
	log := i.kustomize.Tail(100000)
	if n := strings.Count(strings.ToLower(log), "forbidden"); n > 0 {
		t.Errorf("%d lines of the log complain of what is forbidden", n)
	}
	if n := strings.Count(log, "kind is not watched"); n != 1 {
		t.Errorf("the log says %d times that Services are not watched, want once", n)
	}
	refused := 0
	for _, r := range i.requests() {
		if r.Code == 403 && r.Resource == "services" {
			refused++
		}
	}
	if refused > 5 {
		t.Errorf("%d requests for Services were refused: the watch is tried again and again", refused)
	}
}

// leastRights replaces cluster-admin for kustomize-controller.
func (i *island) leastRights() {
	i.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "least"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"kustomize.toolkit.fluxcd.io", "source.toolkit.fluxcd.io"}, Resources: []string{"*"}, Verbs: []string{"*"}},
		{APIGroups: []string{""}, Resources: []string{"configmaps", "secrets", "serviceaccounts", "namespaces"}, Verbs: []string{"get", "list", "watch"}},
		{APIGroups: []string{""}, Resources: []string{"events"}, Verbs: []string{"create", "patch"}},
		{APIGroups: []string{""}, Resources: []string{"users", "groups", "serviceaccounts"}, Verbs: []string{"impersonate"}},
		{APIGroups: []string{"apiextensions.k8s.io"}, Resources: []string{"customresourcedefinitions"}, Verbs: []string{"get", "list", "watch"}},
	}}
	i.must(i.c.Create(i.ctx, role), "create a ClusterRole")
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "least"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "least"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "kustomize-controller", Namespace: harness.Namespace}}}
	i.must(i.c.Create(i.ctx, binding), "create a binding")
	admin := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "harness-kustomize-controller"}}
	i.must(i.c.Delete(i.ctx, admin), "take cluster-admin away")
}
