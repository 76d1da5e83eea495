package kustomize_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kustomize"
)

// paused is a Deployment; one that is paused does not become ready.
func paused(name, image string, pause bool) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  paused: %[2]v
  progressDeadlineSeconds: 30
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {containers: [{name: app, image: %[3]q}]}
`, name, pause, image)
}

func TestRollback(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	files := func(image string, pause bool, more ...string) map[string]string {
		f := map[string]string{"web.yaml": paused("web", image, pause), "secret.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {image: " + image + "}\n"}
		for _, name := range more {
			f[name+".yaml"] = configMap(name, image)
		}
		return f
	}
	l.source("repo", "main@sha1:good", files("example.com/web:1", false, "old"))
	k := &kustomizev1.Kustomization{ObjectMeta: metav1.ObjectMeta{
		Namespace: l.namespace, Name: "web", Annotations: map[string]string{"gitops-toolkit.dev/rollback": "last-healthy"},
	}}
	timeout := meta.NewDuration(30 * time.Second)
	k.Spec = kustomizev1.KustomizationSpec{
		SourceRef: kustomizev1.CrossNamespaceSourceReference{Kind: "GitRepository", Name: "repo"}, TargetNamespace: l.namespace,
		Interval: meta.NewDuration(time.Hour), Prune: true, Wait: true, Timeout: &timeout,
	}
	if err := l.client.Create(t.Context(), k); err != nil {
		t.Fatal(err)
	}
	l.ready("web", "main@sha1:good")

	// A new object with an image that never becomes ready: the Deployment is paused while its template changes.
	l.source("repo", "main@sha1:bad", files("example.com/web:2", true, "new"))
	rolled := l.rolledBack("web", "main@sha1:bad")
	if got := l.image("web"); got != "example.com/web:1" {
		t.Errorf("the image is %s after the rollback", got)
	}
	if !l.exists("old") || l.exists("new") {
		t.Errorf("after the rollback old exists: %v, new: %v", l.exists("old"), l.exists("new"))
	}
	if s := rolled.Status; s.LastAppliedRevision != "main@sha1:good" || s.LastAttemptedRevision != "main@sha1:bad" {
		t.Errorf("applied %s, attempted %s", s.LastAppliedRevision, s.LastAttemptedRevision)
	}
	ready := condition(rolled, meta.ReadyCondition)
	if ready.Status != metav1.ConditionFalse || ready.Reason != meta.HealthCheckFailedReason || !strings.HasSuffix(ready.Message, "\nRolled back to revision main@sha1:good") {
		t.Errorf("Ready is %+v", ready)
	}

	// A restart does not try the bad revision again, and drift is put back to the good one.
	l.stop()
	l.start()
	before := l.image("web")
	l.request("web") // asks for another attempt, which fails again
	l.until("web", "asked for", func(k *kustomizev1.Kustomization) bool {
		return k != nil && k.Status.LastHandledReconcileAt == k.Annotations[meta.ReconcileRequestAnnotation]
	})
	l.rolledBack("web", "main@sha1:bad")
	if got := l.image("web"); got != before {
		t.Errorf("the image is %s after another attempt, was %s", got, before)
	}

	l.source("repo", "main@sha1:fix", files("example.com/web:3", false, "new"))
	fixed := l.ready("web", "main@sha1:fix")
	if c := condition(fixed, kustomize.RolledBackCondition); c != nil {
		t.Errorf("the condition is still there: %+v", c)
	}
	if got := l.image("web"); got != "example.com/web:3" || l.exists("old") || !l.exists("new") {
		t.Errorf("the image is %s, old %v, new %v", got, l.exists("old"), l.exists("new"))
	}
}

func (l *lab) rolledBack(name, revision string) *kustomizev1.Kustomization {
	l.t.Helper()
	return l.until(name, "rolled back", func(k *kustomizev1.Kustomization) bool {
		c := condition(k, kustomize.RolledBackCondition)
		return c != nil && c.Status == metav1.ConditionTrue && strings.HasPrefix(c.Message, "Revision "+revision+" failed") &&
			apimeta.IsStatusConditionFalse(k.Status.Conditions, meta.ReadyCondition)
	})
}

func (l *lab) image(name string) string {
	l.t.Helper()
	d := &appsv1.Deployment{}
	if err := l.client.Get(l.t.Context(), types.NamespacedName{Namespace: l.namespace, Name: name}, d); err != nil {
		l.t.Fatal(err)
	}
	return d.Spec.Template.Spec.Containers[0].Image
}
