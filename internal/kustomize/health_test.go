package kustomize_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
)

// deployment is one whose pod becomes ready after a while; revision makes templates differ.
func deployment(name, readyAfter string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %s}
spec:
  replicas: 1
  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {app: %s}, annotations: {gitops-toolkit.dev/sandbox-ready-after: %s}}
    spec: {containers: [{name: c, image: "example.com/app:1"}]}
`, name, name, name, readyAfter)
}

func TestWaitTellsTheTruth(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"d.yaml": deployment("web", "3s")})
	l.create("app", func(s *kustomizev1.KustomizationSpec) { s.Wait = true })
	k := l.until("app", "waiting", func(k *kustomizev1.Kustomization) bool {
		c := condition(k, meta.ReconcilingCondition)
		return c != nil && strings.HasPrefix(c.Message, "Running health checks for revision r1 with a timeout of 59m30s")
	})
	ready, healthy := condition(k, meta.ReadyCondition), condition(k, meta.HealthyCondition)
	if ready.Status != metav1.ConditionUnknown || ready.Message != "Reconciliation in progress" || healthy == nil || healthy.Status != metav1.ConditionUnknown {
		t.Errorf("while it waits: %s", describe(k))
	}
	if k.Status.ObservedGeneration == k.Generation || k.Status.LastAppliedRevision != "" || k.Status.LastAttemptedRevision != "r1" {
		t.Errorf("the status precedes the verdict: %s", describe(k))
	}
	if k.Status.Inventory == nil || len(k.Status.Inventory.Entries) != 1 {
		t.Errorf("the inventory is not there while it waits: %+v", k.Status.Inventory)
	}
	k = l.ready("app", "r1")
	d := &appsv1.Deployment{}
	if err := l.client.Get(t.Context(), types.NamespacedName{Namespace: l.namespace, Name: "web"}, d); err == nil && d.Status.ReadyReplicas != 1 {
		t.Errorf("Ready, but the Deployment has %d ready replicas", d.Status.ReadyReplicas)
	}
	if c := condition(k, meta.HealthyCondition); c == nil || c.Status != metav1.ConditionTrue || c.Reason != "Succeeded" || !strings.HasPrefix(c.Message, "Health check passed in ") {
		t.Errorf("Healthy = %+v", c)
	}
	e := l.event("app", func(e posted) bool { return strings.HasPrefix(e.Message, "Health check passed in ") })
	if e.Reason != "Progressing" || e.Severity != "info" {
		t.Errorf("event = %+v", e)
	}
}

func TestUnhealthy(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"cm.yaml": configMap("cm", "1")})
	l.create("app", func(s *kustomizev1.KustomizationSpec) {
		s.Wait = true
		s.HealthCheckExprs = []meta.CustomHealthCheck{{APIVersion: "v1", Kind: "ConfigMap", Current: "data.value == '2'", Failed: "data.value == '1'"}}
	})
	k, message := l.failed("app", "HealthCheckFailed")
	bare := "failed early due to stalled resources: [ConfigMap/" + l.namespace + "/cm status: 'Failed']"
	if !strings.HasPrefix(message, "health check failed after ") || !strings.Contains(message, ": "+bare) {
		t.Errorf("Ready message = %q", message)
	}
	if c := condition(k, meta.HealthyCondition); c == nil || c.Status != metav1.ConditionFalse || c.Reason != "HealthCheckFailed" || !strings.HasPrefix(c.Message, bare) {
		t.Errorf("Healthy = %+v, want %q", c, bare)
	}
	if c := condition(k, meta.ReconcilingCondition); c == nil || c.Reason != "ProgressingWithRetry" || !strings.HasPrefix(c.Message, "Running health checks for revision r1") {
		t.Errorf("Reconciling = %+v", c)
	}
	if k.Status.LastAppliedRevision != "" || len(k.Status.Inventory.Entries) != 1 || k.Status.History[0].LastReconciledStatus != "HealthCheckFailed" {
		t.Errorf("status = %+v", k.Status)
	}
	l.source("repo", "r2", map[string]string{"cm.yaml": configMap("cm", "2")})
	k = l.ready("app", "r2")
	if c := condition(k, meta.HealthyCondition); c == nil || c.Status != metav1.ConditionTrue {
		t.Errorf("Healthy = %+v", c)
	}
}

// TestNewRevisionOvertakesWait pushes the fix of a commit that can never become healthy.
func TestNewRevisionOvertakesWait(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "bad", map[string]string{"d.yaml": deployment("web", "10h")})
	l.create("app", func(s *kustomizev1.KustomizationSpec) { s.Wait = true })
	l.until("app", "waiting", func(k *kustomizev1.Kustomization) bool {
		c := condition(k, meta.ReconcilingCondition)
		return c != nil && strings.HasPrefix(c.Message, "Running health checks")
	})
	l.source("repo", "good", map[string]string{"d.yaml": deployment("web", "10ms")})
	k := l.ready("app", "good")
	if len(k.Status.History) != 1 || k.Status.History[0].LastReconciledStatus != "ReconciliationSucceeded" {
		t.Errorf("a cancelled wait is in the history: %+v", k.Status.History)
	}
	e := l.event("app", func(e posted) bool { return strings.HasPrefix(e.Message, "Health checks canceled") })
	if want := "Health checks canceled due to new reconciliation triggered by GitRepository/" + l.namespace + "/repo"; e.Message != want || e.Severity != "info" {
		t.Errorf("event = %+v, want %q", e, want)
	}
	for _, e := range l.events.of("app") {
		if e.Severity == "error" {
			t.Errorf("a cancelled wait is no failure: %+v", e)
		}
	}
}

// TestUnrelatedRevisionsDoNotRestartWait pushes commits that change nothing here while the wait goes on.
func TestUnrelatedRevisionsDoNotRestartWait(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	files := map[string]string{"app/d.yaml": deployment("web", "10h"), "readme.txt": "0"}
	l.source("repo", "r0", files)
	l.create("app", func(s *kustomizev1.KustomizationSpec) { s.Path, s.Wait = "./app", true })
	waits := func(revision string) func(*kustomizev1.Kustomization) bool {
		return func(k *kustomizev1.Kustomization) bool {
			c := condition(k, meta.ReconcilingCondition)
			return c != nil && strings.HasPrefix(c.Message, "Running health checks for revision "+revision+" ")
		}
	}
	l.until("app", "waiting", waits("r0"))
	began := time.Now()
	for i := 1; i <= 3; i++ {
		revision := fmt.Sprintf("r%d", i)
		files["readme.txt"] = revision
		l.source("repo", revision, files)
		l.until("app", "waiting at "+revision, waits(revision))
		l.request("app")
	}
	waited := time.Since(began)
	l.makeReady("web")
	l.ready("app", "r3")
	e := l.event("app", func(e posted) bool { return strings.HasPrefix(e.Message, "Health check passed") })
	passed, err := time.ParseDuration(strings.TrimPrefix(e.Message, "Health check passed in "))
	if err != nil || passed < waited {
		t.Errorf("the wait took %s (%v) of the %s that it was watched for, so it began anew", passed, err, waited)
	}
	for _, e := range l.events.of("app") {
		if strings.HasPrefix(e.Message, "Health checks canceled") {
			t.Errorf("the wait was cancelled: %+v", e)
		}
	}
}

// makeReady ends the wait for the pods of a deployment.
func (l *lab) makeReady(name string) {
	l.t.Helper()
	pods := &corev1.PodList{}
	if err := l.client.List(l.t.Context(), pods, client.InNamespace(l.namespace), client.MatchingLabels{"app": name}); err != nil || len(pods.Items) == 0 {
		l.t.Fatalf("the pods of %s: %v", name, err)
	}
	for i := range pods.Items {
		patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"gitops-toolkit.dev/sandbox-ready-after":"10ms"}}}`))
		if err := l.client.Patch(l.t.Context(), &pods.Items[i], patch); err != nil {
			l.t.Fatal(err)
		}
	}
}

func TestHealthChecksNameObjects(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"cm.yaml": configMap("cm", "1")})
	l.create("app", func(s *kustomizev1.KustomizationSpec) {
		s.HealthChecks = []meta.NamespacedObjectKindReference{{Kind: "Deployment", Name: "elsewhere", Namespace: l.namespace}}
	})
	l.until("app", "waiting", func(k *kustomizev1.Kustomization) bool {
		c := condition(k, meta.ReconcilingCondition)
		return c != nil && strings.HasPrefix(c.Message, "Running health checks")
	})
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "elsewhere", Namespace: l.namespace}}
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": "x"}}
	d.Spec.Template.Labels = map[string]string{"app": "x"}
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "c", Image: "example.com/app:1"}}
	if err := l.client.Create(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	l.ready("app", "r1")
}
