package kustomize_test

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/testenv"
)

// delete deletes a Kustomization and waits until it is gone.
func (l *lab) delete(name string) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	k := l.get(name)
	w, err := l.client.Watch(ctx, &kustomizev1.KustomizationList{}, client.InNamespace(l.namespace), client.MatchingFields{"metadata.name": name})
	if err != nil {
		l.t.Fatal(err)
	}
	defer w.Stop()
	if err := l.client.Delete(ctx, k); err != nil {
		l.t.Fatal(err)
	}
	gone := func(k *kustomizev1.Kustomization) bool { return k == nil }
	if _, ok := l.follow(ctx, w.ResultChan(), name, k, gone); !ok {
		l.t.Fatalf("%s did not go; its status is\n%s", name, describe(k))
	}
}

func TestDeletionPolicies(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"cm.yaml": configMap("cm", "1")})
	t.Run("each", func(t *testing.T) {
		for name, c := range map[string]struct {
			change func(*kustomizev1.KustomizationSpec)
			kept   bool
		}{
			"mirror-prune":    {change: func(s *kustomizev1.KustomizationSpec) {}},
			"mirror-no-prune": {change: func(s *kustomizev1.KustomizationSpec) { s.Prune = false }, kept: true},
			"delete":          {change: func(s *kustomizev1.KustomizationSpec) { s.Prune, s.DeletionPolicy = false, "Delete" }},
			"orphan":          {change: func(s *kustomizev1.KustomizationSpec) { s.DeletionPolicy = "Orphan" }, kept: true},
			"wait":            {change: func(s *kustomizev1.KustomizationSpec) { s.DeletionPolicy = "WaitForTermination" }},
			"empty":           {change: func(s *kustomizev1.KustomizationSpec) { s.Path = "./absent" }, kept: false},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				l := l.with(t)
				l.create(name, func(s *kustomizev1.KustomizationSpec) { s.NamePrefix = name + "-" }, c.change)
				if name == "empty" {
					l.failed(name, "ArtifactFailed")
				} else {
					l.ready(name, "r1")
				}
				l.delete(name)
				if got := l.exists(name + "-cm"); got != c.kept {
					t.Errorf("the object is kept = %v, want %v", got, c.kept)
				}
				if !c.kept && name != "empty" {
					e := l.event(name, func(e posted) bool { return strings.HasSuffix(e.Message, " deleted") })
					if e.Reason != "ReconciliationSucceeded" {
						t.Errorf("event = %+v", e)
					}
				}
			})
		}
	})
}

func TestDeletingSuspendedKeepsObjects(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"cm.yaml": configMap("cm", "1")})
	l.create("app")
	l.ready("app", "r1")
	l.update("app", func(k *kustomizev1.Kustomization) { k.Spec.Suspend = true })
	l.delete("app")
	if !l.exists("cm") {
		t.Error("the objects of a suspended Kustomization must stay")
	}
}

// account makes a ServiceAccount that may do everything with ConfigMaps in the lab's namespace.
func (l *lab) account(name string) {
	l.t.Helper()
	subject := rbacv1.Subject{Kind: "ServiceAccount", Name: name, Namespace: l.namespace}
	for _, o := range []client.Object{
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: l.namespace}},
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: l.namespace}, Rules: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"*"}}}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: l.namespace}, RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: name}, Subjects: []rbacv1.Subject{subject}},
	} {
		if err := l.client.Create(l.t.Context(), o); err != nil {
			l.t.Fatal(err)
		}
	}
}

// TestImpersonation applies, prunes and finalizes as a tenant who may only touch ConfigMaps.
func TestImpersonation(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(s *setup) { s.settings.DefaultServiceAccount = "tenant" })
	l.account("tenant")
	files := map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1")}
	l.source("repo", "r1", files)
	l.create("app", func(s *kustomizev1.KustomizationSpec) { s.Wait = true })
	l.ready("app", "r1")
	delete(files, "b.yaml")
	l.source("repo", "r2", files)
	l.ready("app", "r2")
	if l.exists("b") {
		t.Error("b was not pruned")
	}
	files["secret.yaml"] = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n"
	l.source("repo", "r3", files)
	_, message := l.failed("app", "ReconciliationFailed")
	if !strings.Contains(message, "system:serviceaccount:"+l.namespace+":tenant") || !strings.Contains(message, "secret") {
		t.Errorf("message = %q, want the tenant's refusal", message)
	}
	if err := l.client.Delete(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "tenant", Namespace: l.namespace}}); err != nil {
		t.Fatal(err)
	}
	l.delete("app")
	if !l.exists("a") {
		t.Error("without its account a deleted Kustomization must leave its objects")
	}
	e := l.event("app", func(e posted) bool { return strings.HasPrefix(e.Message, "unable to prune objects: \n") })
	if !strings.Contains(e.Message, "ConfigMap/"+l.namespace+"/a") {
		t.Errorf("event = %+v", e)
	}
}

func TestUnknownAccountIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"a.yaml": configMap("a", "1")})
	l.create("app", func(s *kustomizev1.KustomizationSpec) { s.ServiceAccountName = "absent" })
	if _, message := l.failed("app", "ReconciliationFailed"); !strings.Contains(message, "system:serviceaccount:"+l.namespace+":absent") {
		t.Errorf("message = %q", message)
	}
}

func TestKubeConfig(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"a.yaml": configMap("a", "1")})
	l.create("app", func(s *kustomizev1.KustomizationSpec) {
		s.KubeConfig = &meta.KubeConfigReference{SecretRef: &meta.SecretKeyReference{Name: "remote"}}
		d := meta.NewDuration(time.Second)
		s.RetryInterval = &d
	})
	if _, message := l.failed("app", "ReconciliationFailed"); !strings.HasPrefix(message, "failed to build kube client: unable to read KubeConfig secret '"+l.namespace+"/remote' error: ") {
		t.Errorf("message = %q", message)
	}
	config := "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\nclusters: [{name: k, cluster: {server: '" + l.proxy.config.Host + "'}}]\nusers: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, interactiveMode: Never}}}]\n"
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "remote", Namespace: l.namespace, Labels: map[string]string{meta.WatchLabel: "Enabled"}}, StringData: map[string]string{"other": config}}
	if err := l.client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	l.until("app", "told the key", func(k *kustomizev1.Kustomization) bool {
		return strings.Contains(condition(k, meta.ReadyCondition).Message, "KubeConfig secret '"+l.namespace+"/remote' does not contain a 'value' key with a kubeconfig")
	})
	secret.StringData = map[string]string{"value": config}
	if err := l.client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	l.until("app", "refused", func(k *kustomizev1.Kustomization) bool {
		return strings.Contains(condition(k, meta.ReadyCondition).Message, "users[].user.exec, which is not allowed")
	})
	secret.StringData = map[string]string{"value": config[:strings.Index(config, "exec:")] + "token: x}}]\n"}
	if err := l.client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	l.ready("app", "r1")
}

func TestSubstitution(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	vars := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "vars", Namespace: l.namespace, Labels: map[string]string{meta.WatchLabel: "Enabled"}}, Data: map[string]string{"one": "cm", "two": "cm"}}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "vars", Namespace: l.namespace}, StringData: map[string]string{"two": "secret", "three": "secret"}}
	for _, o := range []client.Object{vars, secret} {
		if err := l.client.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	l.source("repo", "r1", map[string]string{"a.yaml": configMap("a", "${one} ${two} ${three} ${four:=default}")})
	l.create("app", func(s *kustomizev1.KustomizationSpec) {
		s.PostBuild = &kustomizev1.PostBuild{
			Substitute:     map[string]string{"three": "inline"},
			SubstituteFrom: []kustomizev1.SubstituteReference{{Kind: "ConfigMap", Name: "vars"}, {Kind: "Secret", Name: "vars"}, {Kind: "ConfigMap", Name: "absent", Optional: true}},
		}
	})
	l.ready("app", "r1")
	value := func() string {
		cm := &corev1.ConfigMap{}
		if err := l.client.Get(t.Context(), types.NamespacedName{Namespace: l.namespace, Name: "a"}, cm); err != nil {
			t.Fatal(err)
		}
		return cm.Data["value"]
	}
	if got, want := value(), "cm secret inline default"; got != want {
		t.Errorf("value = %q, want %q", got, want)
	}
	vars.Data["one"] = "changed"
	if err := l.client.Update(t.Context(), vars); err != nil {
		t.Fatal(err)
	}
	l.event("app", func(e posted) bool { return strings.HasSuffix(e.Message, "/a configured") })
	if got, want := value(), "changed secret inline default"; got != want {
		t.Errorf("a labelled ConfigMap acts at once: value = %q, want %q", got, want)
	}
	l.secret("treasure", map[string]string{"pw": canary, "bad": "x: " + canary + ": ["})
	l.source("leaks", "r1", map[string]string{
		"refused/d.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {replicas: \"${pw}\"}\n",
		"broken/cm.yaml": configMap("b", "${bad}"),
	})
	for name, reason := range map[string]string{"refused": meta.ReconciliationFailedReason, "broken": meta.BuildFailedReason} {
		l.create(name, func(s *kustomizev1.KustomizationSpec) {
			s.SourceRef.Name, s.Path = "leaks", "./"+name
			s.PostBuild = &kustomizev1.PostBuild{SubstituteFrom: []kustomizev1.SubstituteReference{{Kind: "Secret", Name: "treasure"}}}
		})
		k, _ := l.failed(name, reason)
		l.nothingTells(k, canary)
	}
}

// TestOrderFromContent applies in one pass what needs each other: a CRD and its resource, metadata from the spec.
func TestOrderFromContent(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	group := strings.ReplaceAll(l.namespace, "-", "") + ".example.com"
	l.source("repo", "r1", map[string]string{
		"a-cr.yaml":  "apiVersion: " + group + "/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 3}\n",
		"b-crd.yaml": "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets." + group + "}\nspec:\n  group: " + group + "\n  scope: Namespaced\n  names: {kind: Widget, plural: widgets, singular: widget}\n  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]\n",
		"c.yaml":     configMap("c", "1"),
	})
	l.create("app", func(s *kustomizev1.KustomizationSpec) {
		s.Wait = true
		s.CommonMetadata = &meta.CommonMetadata{Labels: map[string]string{"team": "a"}, Annotations: map[string]string{"note": "b"}}
	})
	l.ready("app", "r1")
	cm := &corev1.ConfigMap{}
	if err := l.client.Get(t.Context(), types.NamespacedName{Namespace: l.namespace, Name: "c"}, cm); err != nil || cm.Labels["team"] != "a" || cm.Annotations["note"] != "b" {
		t.Errorf("common metadata: %v %v, %v", cm.Labels, cm.Annotations, err)
	}
	l.delete("app")
}

// TestHandoverOfStatus lets the controller meet the status that another controller wrote: nothing is applied again.
func TestHandoverOfStatus(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	files := map[string]string{"a.yaml": configMap("a", "1")}
	l.source("repo", "r1", files)
	l.create("app")
	before := l.ready("app", "r1")
	cm := &corev1.ConfigMap{}
	name := types.NamespacedName{Namespace: l.namespace, Name: "a"}
	if err := l.client.Get(t.Context(), name, cm); err != nil {
		t.Fatal(err)
	}
	second := *l
	second.proxy, second.events = newProxy(t, testenv.Config(t)), newCollector(t)
	l.stop()
	second.setup = second.defaults()
	second.start()
	at := second.request("app")
	after := second.until("app", "answered", func(k *kustomizev1.Kustomization) bool { return k.Status.LastHandledReconcileAt == at })
	seen := second.proxy.take()
	if count(seen, "apply") != 0 {
		t.Errorf("a second controller applied again: %v", seen)
	}
	again := &corev1.ConfigMap{}
	if err := l.client.Get(t.Context(), name, again); err != nil || again.ResourceVersion != cm.ResourceVersion {
		t.Errorf("the object moved from %s to %s, %v", cm.ResourceVersion, again.ResourceVersion, err)
	}
	if before.Status.Inventory.Entries[0] != after.Status.Inventory.Entries[0] {
		t.Errorf("inventory %v, was %v", after.Status.Inventory, before.Status.Inventory)
	}
}

func TestArtifactNotServedIsRetried(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(s *setup) { s.settings.RequeueDependency = time.Second })
	l.source("repo", "r1", map[string]string{"a.yaml": configMap("a", "1")})
	l.artifacts.mu.Lock()
	dirs := l.artifacts.dirs
	l.artifacts.dirs = map[string]string{}
	l.artifacts.mu.Unlock()
	l.create("app")
	if _, message := l.failed("app", "ArtifactFailed"); message != "Source is not ready, artifact not found, retrying in 1s" {
		t.Errorf("message = %q", message)
	}
	l.artifacts.mu.Lock()
	l.artifacts.dirs = dirs
	l.artifacts.mu.Unlock()
	l.ready("app", "r1")
}

// TestTreesAreReleased checks that no pass keeps an unpacked artifact.
func TestTreesAreReleased(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"a/a.yaml": configMap("a", "1"), "b/x.yaml": "{"})
	l.create("good", func(s *kustomizev1.KustomizationSpec) { s.Path = "./a" })
	l.create("bad", func(s *kustomizev1.KustomizationSpec) { s.Path = "./b" })
	l.ready("good", "r1")
	l.failed("bad", "BuildFailed")
	l.artifacts.mu.Lock()
	defer l.artifacts.mu.Unlock()
	if l.artifacts.held != 0 {
		t.Errorf("%d unpacked artifacts are still held", l.artifacts.held)
	}
}

func TestForceRecreates(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	immutable := func(value string) map[string]string {
		return map[string]string{"a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nimmutable: true\ndata: {value: " + value + "}\n"}
	}
	l.source("repo", "r1", immutable("x"))
	l.create("app")
	l.ready("app", "r1")
	l.source("repo", "r2", immutable("y"))
	if _, message := l.failed("app", "ReconciliationFailed"); !strings.Contains(message, "immutable") {
		t.Errorf("message = %q", message)
	}
	l.update("app", func(k *kustomizev1.Kustomization) { k.Spec.Force = true })
	l.ready("app", "r2")
	cm := &corev1.ConfigMap{}
	err := l.client.Get(t.Context(), types.NamespacedName{Namespace: l.namespace, Name: "a"}, cm)
	if apierrors.IsNotFound(err) || cm.Data["value"] != "y" {
		t.Errorf("data = %v, %v", cm.Data, err)
	}
}
