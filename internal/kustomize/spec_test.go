package kustomize_test

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
)

// TestCustomStages applies Services before ConfigMaps, against the usual order, where they have a stage of their own.
func TestCustomStages(t *testing.T) {
	t.Parallel()
	kinds, err := apply.ParseStageKinds("apps/Deployment,/Service")
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, func(s *setup) { s.options.StageKinds = kinds })
	l.source("repo", "r1", map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {ports: [{port: 80}]}\n"})
	l.create("app")
	l.ready("app", "r1")
	e := l.event("app", func(e posted) bool { return strings.Contains(e.Message, "created") })
	if want := "Service/" + l.namespace + "/b created\nConfigMap/" + l.namespace + "/a created"; e.Message != want {
		t.Errorf("order of the changes:\n%s\nwant\n%s", e.Message, want)
	}
}

// TestIgnoredFields has somebody else scale two Deployments, one of which the rules leave to him.
func TestIgnoredFields(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	both := func(label string) map[string]string {
		label = "{gitops-toolkit.dev/sandbox-ready-after: 1s, label: " + label + "}"
		web := strings.ReplaceAll(deployment("web", "1s"), "{gitops-toolkit.dev/sandbox-ready-after: 1s}", label)
		return map[string]string{"web.yaml": web, "other.yaml": deployment("other", "1s")}
	}
	l.source("repo", "r1", both("one"))
	l.create("app", func(s *kustomizev1.KustomizationSpec) {
		s.Ignore = []meta.IgnoreRule{{Paths: []string{"/spec/replicas"}, Target: &meta.Selector{Kind: "Deployment", Name: "we."}}}
	})
	l.ready("app", "r1")
	replicas := func(name string) int32 {
		d := &appsv1.Deployment{}
		if err := l.client.Get(t.Context(), types.NamespacedName{Namespace: l.namespace, Name: name}, d); err != nil {
			t.Fatal(err)
		}
		return *d.Spec.Replicas
	}
	for _, name := range []string{"web", "other"} {
		d := &appsv1.Deployment{}
		d.Namespace, d.Name = l.namespace, name
		if err := l.client.Patch(t.Context(), d, client.RawPatch(types.MergePatchType, []byte(`{"spec":{"replicas":2}}`)), client.FieldOwner("scaler")); err != nil {
			t.Fatal(err)
		}
	}
	at := l.request("app")
	l.until("app", "answered", func(k *kustomizev1.Kustomization) bool { return k.Status.LastHandledReconcileAt == at })
	if replicas("other") != 1 || replicas("web") != 2 {
		t.Errorf("%d replicas of other and %d of web, want 1 and 2", replicas("other"), replicas("web"))
	}
	l.source("repo", "r2", both("two"))
	l.ready("app", "r2")
	d := &appsv1.Deployment{}
	if err := l.client.Get(t.Context(), types.NamespacedName{Namespace: l.namespace, Name: "web"}, d); err != nil || d.Spec.Template.Annotations["label"] != "two" || *d.Spec.Replicas != 2 {
		t.Errorf("after a change of something else: %d replicas, annotations %v, %v", *d.Spec.Replicas, d.Spec.Template.Annotations, err)
	}
}

// TestHistory brings the same objects twice, with a failure between: two entries, the newest in front.
func TestHistory(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	good := map[string]string{"a.yaml": configMap("a", "1")}
	l.source("repo", "r1", good)
	l.create("app")
	first := l.ready("app", "r1").Status.History
	l.source("repo", "r2", map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Bad_Name}\n"})
	l.failed("app", "ReconciliationFailed")
	l.source("repo", "r3", good)
	history := l.ready("app", "r3").Status.History
	if len(first) != 1 || len(history) != 2 {
		t.Fatalf("history %+v, was %+v", history, first)
	}
	newest, failed := history[0], history[1]
	if newest.Digest != first[0].Digest || newest.TotalReconciliations != 2 || newest.Metadata["revision"] != "r3" || newest.LastReconciledStatus != "ReconciliationSucceeded" {
		t.Errorf("newest = %+v", newest)
	}
	if !newest.FirstReconciled.Time.Time.Equal(first[0].FirstReconciled.Time.Time) {
		t.Errorf("first reconciled %s, was %s", newest.FirstReconciled, first[0].FirstReconciled)
	}
	if failed.LastReconciledStatus != "ReconciliationFailed" || failed.Digest == newest.Digest || failed.Metadata["revision"] != "r2" {
		t.Errorf("failed = %+v", failed)
	}
}
