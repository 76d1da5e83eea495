package kustomize_test

import (
	"context"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply/health"
	"github.com/gitops-toolkit/flux/internal/testenv"
)

func TestDependsOnAnyKind(t *testing.T) {
	t.Parallel()
	watches, err := metadata.NewForConfig(testenv.Config(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	hub := health.NewHub(ctx, watches)
	l := newLab(t, func(s *setup) {
		s.settings.RequeueDependency = time.Hour // only the watch can wake
		s.options.Health = hub
	})
	l.source("repo", "main@sha1:1", map[string]string{"cm.yaml": configMap("app", "1")})
	after := func(d meta.DependencyReference) func(*kustomizev1.KustomizationSpec) {
		return func(s *kustomizev1.KustomizationSpec) { s.DependsOn = []meta.DependencyReference{d} }
	}
	gate := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "gate", Namespace: l.namespace}, Data: map[string]string{"open": "no"}}
	dep := meta.DependencyReference{APIVersion: "v1", Kind: "ConfigMap", Name: "gate", ReadyExpr: "dep.data.open == 'yes'"}

	l.create("app", after(dep))
	_, message := l.failed("app", meta.DependencyNotReadyReason)
	if !strings.Contains(message, "dependency 'ConfigMap/"+l.namespace+"/gate' not found") || !strings.Contains(message, "create it, or correct spec.dependsOn") {
		t.Errorf("message: %s", message)
	}
	if err := l.client.Create(t.Context(), gate); err != nil {
		t.Fatal(err)
	}
	l.until("app", "told that the gate is shut", func(k *kustomizev1.Kustomization) bool {
		c := condition(k, meta.ReadyCondition)
		return c != nil && strings.Contains(c.Message, "/gate' is not ready according to readyExpr eval")
	})
	gate.Data["open"] = "yes"
	if err := l.client.Update(t.Context(), gate); err != nil {
		t.Fatal(err)
	}
	l.ready("app", "main@sha1:1")
	if n := hub.Watches(); n != 0 {
		t.Errorf("%d watches are left after the wait", n)
	}

	t.Run("by status", func(t *testing.T) {
		l := l.with(t)
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: l.namespace}}
		one := int32(1)
		d.Spec.Replicas, d.Spec.Paused = &one, true
		d.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "db"}}
		d.Spec.Template.Labels = map[string]string{"app": "db"}
		d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "db", Image: "example.com/db:1"}}
		if err := l.client.Create(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		l.create("status", after(meta.DependencyReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "db"}))
		_, message := l.failed("status", meta.DependencyNotReadyReason)
		if !strings.Contains(message, "dependency 'Deployment/"+l.namespace+"/db' is not ready: ") {
			t.Errorf("message: %s", message)
		}
		old := d.DeepCopy()
		d.Spec.Paused = false
		if err := l.client.Patch(t.Context(), d, client.MergeFrom(old)); err != nil {
			t.Fatal(err)
		}
		l.ready("status", "main@sha1:1")
	})
	t.Run("a tenant sees no more than its account may", func(t *testing.T) {
		l := l.with(t)
		if err := l.client.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "blind", Namespace: l.namespace}}); err != nil {
			t.Fatal(err)
		}
		secret := dep
		secret.Kind, secret.ReadyExpr = "Secret", "dep.data.x == 'y'"
		l.create("blind", after(secret), func(s *kustomizev1.KustomizationSpec) { s.ServiceAccountName = "blind" })
		_, message := l.failed("blind", meta.DependencyNotReadyReason)
		if !strings.Contains(message, "/gate' cannot be read: ") || !strings.Contains(message, "cannot get resource \"secrets\"") {
			t.Errorf("message: %s", message)
		}
	})
	t.Run("a kind that is not served", func(t *testing.T) {
		l := l.with(t)
		l.create("unknown", after(meta.DependencyReference{APIVersion: "example.com/v1", Kind: "Nothing", Name: "x"}))
		_, message := l.failed("unknown", meta.DependencyNotReadyReason)
		if !strings.Contains(message, "correct apiVersion and kind in spec.dependsOn, or install the CustomResourceDefinition") {
			t.Errorf("message: %s", message)
		}
	})
	t.Run("half a kind", func(t *testing.T) {
		l := l.with(t)
		l.create("half", after(meta.DependencyReference{Kind: "ConfigMap", Name: "gate"}))
		_, message := l.failed("half", meta.DependencyNotReadyReason)
		if !strings.Contains(message, "needs both apiVersion and kind") {
			t.Errorf("message: %s", message)
		}
	})
}
