package helm_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
)

func mergePatch(text string) client.Patch { return client.RawPatch(types.MergePatchType, []byte(text)) }

func TestTests(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", map[string]string{
		"templates/tests/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-test\n  annotations: {helm.sh/hook: test}\n",
		"templates/tests/b.yaml": "{{ if .Values.failing }}\napiVersion: v1\nkind: Service\nmetadata:\n  name: {{ .Release.Name }}-bad\n  annotations: {helm.sh/hook: test, helm.sh/hook-weight: \"1\"}\nspec: {ports: [{port: 99999}]}\n{{ end }}\n",
		"templates/tests/c.yaml": "{{ if .Values.failing }}\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-late\n  annotations: {helm.sh/hook: test, helm.sh/hook-weight: \"2\"}\n{{ end }}\n",
	}))
	l.create("good", func(s *helmv2.HelmReleaseSpec) { s.Test = &helmv2.Test{Enable: true} })
	hr := l.ready("good", 1)
	want := "Helm test succeeded for release " + l.namespace + "/good.v1 with chart " + hr.Status.History[0].ChartName + "@" + hr.Status.History[0].ChartVersion + ": 1 test hook completed successfully"
	if c := condition(hr, meta.ReadyCondition); c.Reason != "TestSucceeded" || c.Message != want {
		t.Errorf("Ready is %+v, want %q", c, want)
	}
	if h := hr.Status.History[0].TestHooks; h == nil || (*h)["good-test"] == nil || (*h)["good-test"].Phase != "Succeeded" {
		t.Errorf("test hooks %+v", h)
	}
	l.create("bad", func(s *helmv2.HelmReleaseSpec) {
		s.Test, s.Values = &helmv2.Test{Enable: true}, values(t, `{"failing":true}`)
	})
	hr, message := l.stalled("bad", "RetriesExceeded")
	if message != "Failed to install after 1 attempt(s)" || condition(hr, "TestSuccess").Reason != "TestFailed" || condition(hr, "Ready").Reason != "TestFailed" {
		t.Errorf("Stalled says %q, TestSuccess is %+v, Ready %+v", message, condition(hr, "TestSuccess"), condition(hr, "Ready"))
	}
	if h := hr.Status.History[0].TestHooks; h == nil || len(*h) != 3 || (*h)["bad-bad"].Phase != "Failed" || (*h)["bad-late"] == nil || *(*h)["bad-late"] != (helmv2.TestHookStatus{}) {
		t.Errorf("the test that was not reached is not told: %+v", h)
	}
	l.create("ignored", func(s *helmv2.HelmReleaseSpec) {
		s.Test, s.Values = &helmv2.Test{Enable: true, IgnoreFailures: true}, values(t, `{"failing":true}`)
	})
	if hr := l.ready("ignored", 1); condition(hr, "TestSuccess").Status != metav1.ConditionFalse || condition(hr, "Ready").Reason != "InstallSucceeded" {
		t.Errorf("TestSuccess is %+v, Ready %+v", condition(hr, "TestSuccess"), condition(hr, "Ready"))
	}
	l.create("filtered", func(s *helmv2.HelmReleaseSpec) {
		s.Test = &helmv2.Test{Enable: true, Filters: &[]helmv2.TestFilter{{Name: "filtered-bad", Exclude: true}}}
		s.Values = values(t, `{"failing":true}`)
	})
	if h := l.ready("filtered", 1).Status.History[0].TestHooks; h == nil || len(*h) != 2 || (*h)["filtered-bad"] != nil {
		t.Errorf("test hooks %+v, want those that the filters leave", h)
	}
}

func TestPostRenderersAndMetadata(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", map[string]string{
		"templates/deployment.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: {{ .Release.Name }}}\nspec:\n  replicas: 0\n  selector: {matchLabels: {app: x}}\n  template:\n    metadata: {labels: {app: x}}\n    spec:\n      containers: [{name: c, image: \"nginx:1\"}]\n",
	}))
	l.create("app", func(s *helmv2.HelmReleaseSpec) {
		s.CommonMetadata = &meta.CommonMetadata{Labels: map[string]string{"team": "b"}, Annotations: map[string]string{"note": "x"}}
		s.PostRenderers = []helmv2.PostRenderer{{Kustomize: &helmv2.Kustomize{
			Images:  []meta.Image{{Name: "nginx", NewName: "registry.example.com/nginx", NewTag: "2"}},
			Patches: []meta.Patch{{Patch: "- op: add\n  path: /data/patched\n  value: \"yes\"\n", Target: &meta.Selector{Kind: "ConfigMap"}}},
		}}}
	})
	hr := l.ready("app", 1)
	d := &appsv1.Deployment{}
	if err := l.client.Get(t.Context(), types.NamespacedName{Namespace: l.namespace, Name: "app"}, d); err != nil {
		t.Fatal(err)
	}
	if image := d.Spec.Template.Spec.Containers[0].Image; image != "registry.example.com/nginx:2" {
		t.Errorf("the image is %s", image)
	}
	if d.Labels["team"] != "b" || d.Annotations["note"] != "x" || d.Labels["helm.toolkit.fluxcd.io/name"] != "app" || d.Labels["helm.toolkit.fluxcd.io/namespace"] != l.namespace {
		t.Errorf("labels %v, annotations %v", d.Labels, d.Annotations)
	}
	if l.configMap("app")["patched"] != "yes" {
		t.Errorf("the ConfigMap holds %v", l.configMap("app"))
	}
	if hr.Status.ObservedPostRenderersDigest == "" || hr.Status.ObservedCommonMetadataDigest == "" {
		t.Errorf("digests %q %q", hr.Status.ObservedPostRenderersDigest, hr.Status.ObservedCommonMetadataDigest)
	}
	l.update("app", func(hr *helmv2.HelmRelease) { hr.Spec.CommonMetadata.Labels["team"] = "c" })
	l.ready("app", 2)
}

func TestTargets(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	target := l.namespace + "-target"
	t.Cleanup(func() {
		_ = l.client.Delete(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: target}})
	})
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	l.create("app", func(s *helmv2.HelmReleaseSpec) {
		s.TargetNamespace, s.Install = target, &helmv2.Install{CreateNamespace: true}
	})
	hr := l.ready("app", 1)
	name := hr.Status.History[0].Name
	if hr.Status.History[0].Namespace != target || hr.Status.StorageNamespace != l.namespace || len(name) > 53 {
		t.Errorf("history %+v, storage %s", hr.Status.History[0], hr.Status.StorageNamespace)
	}
	cm := &corev1.ConfigMap{}
	if err := l.client.Get(t.Context(), types.NamespacedName{Namespace: target, Name: name}, cm); err != nil {
		t.Fatal(err)
	}
	// Another name is another release: the old one goes.
	l.update("app", func(hr *helmv2.HelmRelease) { hr.Spec.ReleaseName, hr.Spec.TargetNamespace = "renamed", "" })
	l.until("app", "renamed", func(hr *helmv2.HelmRelease) bool {
		latest := hr.Status.History.Latest()
		return latest != nil && latest.Name == "renamed" && condition(hr, "Ready").Status == metav1.ConditionTrue
	})
	if err := l.client.Get(t.Context(), types.NamespacedName{Namespace: target, Name: name}, cm); err == nil {
		t.Error("the release under the old name is still there")
	}
	if l.configMap("renamed") == nil {
		t.Error("the release under the new name is not there")
	}
}

func TestCRDs(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	group := "g" + strings.ReplaceAll(l.namespace, "-", "") + ".example.com"
	crd := fmt.Sprintf("apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gadgets.%[1]s}\nspec:\n  group: %[1]s\n  scope: Namespaced\n  names: {kind: Gadget, plural: gadgets}\n  versions:\n  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}\n", group)
	definition := func() *unstructured.Unstructured {
		u := &unstructured.Unstructured{}
		u.SetAPIVersion("apiextensions.k8s.io/v1")
		u.SetKind("CustomResourceDefinition")
		u.SetName("gadgets." + group)
		return u
	}
	t.Cleanup(func() {
		u := definition()
		_ = l.client.Delete(context.Background(), u)
	})
	l.source("demo", "1.0.0", demo("1.0.0", map[string]string{
		"crds/gadgets.yaml":     crd,
		"templates/gadget.yaml": "apiVersion: " + group + "/v1\nkind: Gadget\nmetadata: {name: {{ .Release.Name }}}\nspec: {size: 1}\n",
	}))
	l.create("skipped", func(s *helmv2.HelmReleaseSpec) { s.Install = &helmv2.Install{CRDs: "Skip"} })
	if _, message := l.failed("skipped", "InstallFailed"); !strings.Contains(message, "ensure CRDs are installed first") {
		t.Errorf("Ready says %q", message)
	}
	l.create("app")
	hr := l.ready("app", 1)
	found := false
	for _, e := range hr.Status.Inventory.Entries {
		found = found || e.ID == "_gadgets."+group+"_apiextensions.k8s.io_CustomResourceDefinition"
	}
	if !found {
		t.Errorf("inventory %+v", hr.Status.Inventory.Entries)
	}
	// A definition that is removed under a release is put back by the next upgrade.
	if err := l.client.Delete(t.Context(), definition()); err != nil {
		t.Fatal(err)
	}
	l.update("app", func(hr *helmv2.HelmRelease) { hr.Spec.Values = values(t, `{"message":"again"}`) })
	l.until("app", "Ready again", func(hr *helmv2.HelmRelease) bool {
		latest := hr.Status.History.Latest()
		return latest != nil && latest.Version >= 2 && latest.Status == "deployed" && condition(hr, "Ready").Status == metav1.ConditionTrue
	})
}

func TestImpersonation(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "tenant"}}
	if err := l.client.Create(t.Context(), sa); err != nil {
		t.Fatal(err)
	}
	l.create("app", func(s *helmv2.HelmReleaseSpec) { s.ServiceAccountName = "tenant" })
	if _, message := l.failed("app", "StateError"); !strings.Contains(message, "forbidden") || !strings.HasSuffix(message, "; grant the right to the ServiceAccount '"+l.namespace+"/tenant' of spec.serviceAccountName with a RoleBinding or ClusterRoleBinding") {
		t.Errorf("Ready says %q", message)
	}
	rb := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "tenant"},
		RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "admin"}, Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: l.namespace, Name: "tenant"}}}
	if err := l.client.Create(t.Context(), rb); err != nil {
		t.Fatal(err)
	}
	l.request("app")
	l.ready("app", 1)
	// Without its account nobody may uninstall the release, and the object must not stay for ever.
	if err := l.client.Delete(t.Context(), sa); err != nil {
		t.Fatal(err)
	}
	l.delete("app")
	l.gone("app")
	if l.configMap("app") == nil {
		t.Error("the release was removed without rights")
	}
}

// The budget of the design: two requests an object and eight more, waits for health apart.
func TestBudget(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	object := func(n int) string {
		return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-%d}\ndata: {message: {{ .Values.message | quote }}}\n", n)
	}
	l.source("demo", "1.0.0", demo("1.0.0", map[string]string{"templates/b.yaml": object(2), "templates/c.yaml": object(3), "templates/d.yaml": object(4)}))
	l.create("warm")
	l.ready("warm", 1)
	settle(t, l)
	l.requests()
	count := func(what string, limit int) {
		t.Helper()
		seen := l.requests()
		if len(seen) > limit {
			t.Errorf("%s took %d requests, the budget is %d:\n%s", what, len(seen), limit, strings.Join(seen, "\n"))
		}
		t.Logf("%s: %d requests", what, len(seen))
	}
	l.create("app")
	l.ready("app", 1)
	settle(t, l)
	count("install", 2*4+8)
	l.update("app", func(hr *helmv2.HelmRelease) { hr.Spec.Values = values(t, `{"message":"second"}`) })
	l.ready("app", 2)
	settle(t, l)
	count("upgrade", 2*4+8)
	// A restart with nothing changed makes no revision and writes nothing but what a first list is.
	l.stop()
	l.requests()
	l.start()
	settle(t, l)
	for _, r := range l.requests() {
		if strings.HasPrefix(r, "patch ") || strings.HasPrefix(r, "post ") || strings.HasPrefix(r, "put ") {
			t.Errorf("after a restart: %s", r)
		}
	}
	if n := len(l.storedRevisions("app")); n != 2 {
		t.Errorf("%d revisions after a restart", n)
	}
}
