package kustomize_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
)

// configMapOf returns a ConfigMap.
func (l *lab) configMapOf(name string) *corev1.ConfigMap {
	l.t.Helper()
	cm := &corev1.ConfigMap{}
	if err := l.client.Get(l.t.Context(), types.NamespacedName{Namespace: l.namespace, Name: name}, cm); err != nil {
		l.t.Fatalf("%s is not there: %v", name, err)
	}
	return cm
}

func inventoryHas(k *kustomizev1.Kustomization, name string) bool {
	if k.Status.Inventory == nil {
		return false
	}
	for _, e := range k.Status.Inventory.Entries {
		if strings.Contains(e.ID, "_"+name+"_") {
			return true
		}
	}
	return false
}

// TestObjectMovesBetweenOwners moves an object in one commit; which of the two owners comes first must not matter,
// nor that the new one waits for the old one.
func TestObjectMovesBetweenOwners(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dependsOn string
		reason    string
	}{
		"independent":                         {reason: "neither waits for the other"},
		"the new owner depends on the old":    {dependsOn: "old", reason: "waiting for it would be waiting for oneself"},
		"the old owner depends on the new":    {dependsOn: "new", reason: "the new one applies first"},
		"both directions at once, many times": {reason: "each move finds the object where it was"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			tree := func(oldHas bool) map[string]string {
				files := map[string]string{"old/o.yaml": configMap("o", "1"), "new/n.yaml": configMap("n", "1")}
				if oldHas {
					files["old/moved.yaml"] = configMap("moved", "1")
				} else {
					files["new/moved.yaml"] = configMap("moved", "1")
				}
				return files
			}
			l.source("repo", "r1", tree(true))
			for _, owner := range []string{"old", "new"} {
				l.create(owner, func(s *kustomizev1.KustomizationSpec) {
					s.Path = "./" + owner
					if c.dependsOn != "" && c.dependsOn != owner {
						s.DependsOn = []meta.DependencyReference{{Name: c.dependsOn}}
					}
				})
			}
			l.ready("old", "r1")
			l.ready("new", "r1")
			uid := l.configMapOf("moved").UID
			rounds := 1
			if strings.HasPrefix(name, "both") {
				rounds = 4
			}
			for i := range rounds {
				revision := fmt.Sprintf("r%d", i+2)
				from, to := "old", "new"
				if i%2 == 1 {
					from, to = to, from
				}
				l.source("repo", revision, tree(i%2 == 1))
				l.ready(to, revision)
				l.until(from, "without the object", func(k *kustomizev1.Kustomization) bool {
					return k.Status.LastAppliedRevision == revision && !inventoryHas(k, "moved")
				})
				cm := l.configMapOf("moved")
				if cm.UID != uid || cm.Labels[kustomizev1.OwnerNameLabel] != to {
					t.Errorf("%s: the object was created anew (%t) or does not belong to %s: %v (%s)", revision, cm.UID != uid, to, cm.Labels, c.reason)
				}
			}
		})
	}
}

// TestOwnerIsRenamed replaces a Kustomization by another one of the same path.
func TestOwnerIsRenamed(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1")})
	l.create("before")
	l.ready("before", "r1")
	uid := l.configMapOf("a").UID
	l.create("after")
	l.delete("before")
	k := l.ready("after", "r1")
	if cm := l.configMapOf("a"); cm.UID != uid || cm.Labels[kustomizev1.OwnerNameLabel] != "after" || len(k.Status.Inventory.Entries) != 2 {
		t.Errorf("the objects were not handed over: created anew %t, labels %v", cm.UID != uid, cm.Labels)
	}
}

// TestClaimNeedsTheRight lets a tenant claim an object that it may not apply: that keeps nobody from deleting it.
func TestClaimNeedsTheRight(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "tenant"}}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "tenant"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{"own"}, Verbs: []string{"*"}},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"create"}},
	}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "tenant"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "tenant"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: "tenant", Namespace: l.namespace}},
	}
	for _, err := range []error{l.client.Create(t.Context(), sa), l.client.Create(t.Context(), role), l.client.Create(t.Context(), binding)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l.source("repo", "r1", map[string]string{"platform/x.yaml": configMap("x", "1"), "tenant/own.yaml": configMap("own", "1")})
	l.create("platform", func(s *kustomizev1.KustomizationSpec) { s.Path = "./platform" })
	l.create("tenant", func(s *kustomizev1.KustomizationSpec) { s.Path, s.ServiceAccountName = "./tenant", "tenant" })
	l.ready("platform", "r1")
	l.ready("tenant", "r1")
	l.source("repo", "r2", map[string]string{"tenant/own.yaml": configMap("own", "1"), "tenant/x.yaml": configMap("x", "2"), "platform/k.yaml": configMap("k", "1")})
	l.ready("platform", "r2")
	if l.exists("x") {
		t.Error("an object was kept for somebody who may not apply it")
	}
}

// TestPruneBudget stops a reconciliation that would delete too much, until the annotation allows it.
func TestPruneBudget(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	files := map[string]string{}
	for _, name := range []string{"a", "b", "c", "d"} {
		files[name+".yaml"] = configMap(name, "1")
	}
	l.source("repo", "r1", files)
	l.create("app", func(s *kustomizev1.KustomizationSpec) { d := meta.NewDuration(time.Hour); s.RetryInterval = &d })
	l.update("app", func(k *kustomizev1.Kustomization) {
		metav1.SetMetaDataAnnotation(&k.ObjectMeta, "gitops-toolkit.dev/prune-budget", "25%")
	})
	l.ready("app", "r1")
	l.source("repo", "r2", map[string]string{"a.yaml": configMap("a", "1"), "e.yaml": configMap("e", "1")})
	k, message := l.failed("app", "PruneFailed")
	for _, want := range []string{"3 of 4 objects would be deleted", "gitops-toolkit.dev/prune-budget allows 25%", "raise or remove the annotation", "ConfigMap/" + l.namespace + "/d"} {
		if !strings.Contains(message, want) {
			t.Errorf("the message does not tell %q:\n%s", want, message)
		}
	}
	if !l.exists("b") || !l.exists("c") || !l.exists("d") || !l.exists("e") || len(k.Status.Inventory.Entries) != 5 {
		t.Errorf("want all to be there and in the inventory: %+v", k.Status.Inventory)
	}
	l.update("app", func(k *kustomizev1.Kustomization) {
		metav1.SetMetaDataAnnotation(&k.ObjectMeta, "gitops-toolkit.dev/prune-budget", "3")
	})
	if k = l.ready("app", "r2"); l.exists("b") || len(k.Status.Inventory.Entries) != 2 {
		t.Errorf("the allowed prune did not happen: %+v", k.Status.Inventory)
	}
}

// TestPruneSaysWhatGoesWithIt prunes a namespace with something in it.
func TestPruneSaysWhatGoesWithIt(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	inner := l.namespace + "-inner"
	namespace := "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + inner + "}\n"
	l.source("repo", "r1", map[string]string{"ns.yaml": namespace, "a.yaml": configMap("a", "1")})
	l.create("app", func(s *kustomizev1.KustomizationSpec) { s.TargetNamespace = "" },
		func(s *kustomizev1.KustomizationSpec) { s.CommonMetadata = nil })
	l.t.Cleanup(func() {
		_ = l.client.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: inner}})
	})
	l.failed("app", "ReconciliationFailed")
	l.source("repo", "r2", map[string]string{"ns.yaml": namespace, "a.yaml": strings.Replace(configMap("a", "1"), "{name: a}", "{name: a, namespace: "+l.namespace+"}", 1)})
	l.ready("app", "r2")
	if err := l.client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: inner, Name: "precious"}}); err != nil {
		t.Fatal(err)
	}
	l.source("repo", "r3", map[string]string{"a.yaml": strings.Replace(configMap("a", "1"), "{name: a}", "{name: a, namespace: "+l.namespace+"}", 1)})
	l.ready("app", "r3")
	e := l.event("app", func(e posted) bool { return strings.Contains(e.Message, "Namespace/"+inner+" deleted") })
	if !strings.Contains(e.Message, "\n  and with it ") || !strings.Contains(e.Message, "1 Secret") {
		t.Errorf("event = %q", e.Message)
	}
}
