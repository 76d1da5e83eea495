package kustomize_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kustomize"
)

// TestUnknownFieldIsReported applies what the kind knows, and names what it does not until that is mended.
func TestUnknownFieldIsReported(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	service := func(field string) string {
		return "apiVersion: v1\nkind: Service\nmetadata: {name: typo}\nspec: {ports: [{port: 80}], " + field + ": {a: b}}\n"
	}
	l.source("repo", "r1", map[string]string{"web/svc.yaml": service("selectorr")})
	l.create("app")
	k := l.ready("app", "r1")
	want := "Service/" + l.namespace + "/typo: unknown field spec.selectorr in web/svc.yaml was ignored; correct or remove it"
	if c := condition(k, kustomize.FieldsIgnoredCondition); c == nil || c.Status != metav1.ConditionTrue || c.Reason != "UnknownField" || c.Message != want {
		t.Errorf("condition = %+v, want %q", c, want)
	}
	e := l.event("app", func(e posted) bool { return e.Reason == "UnknownField" })
	if e.Message != want || e.Severity != "error" {
		t.Errorf("event = %+v, want %q", e, want)
	}
	at := l.request("app")
	l.until("app", "answered", func(k *kustomizev1.Kustomization) bool { return k.Status.LastHandledReconcileAt == at })
	l.source("repo", "r2", map[string]string{"web/svc.yaml": service("selector")})
	if k = l.ready("app", "r2"); condition(k, kustomize.FieldsIgnoredCondition) != nil {
		t.Errorf("the condition is left: %s", describe(k))
	}
	told := 0
	for _, e := range l.events.of("app") {
		if e.Reason == "UnknownField" {
			told++
		}
	}
	if told != 1 {
		t.Errorf("%d events for one revision, want 1", told)
	}
}

// TestRetryNamesFilesToo fails twice with the same error: what the second attempt says, made from a build that was
// kept, is what the first one said.
func TestRetryNamesFilesToo(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{
		"kustomization.yaml": "resources: [bad.yaml, web/good.yaml]\n", "web/good.yaml": configMap("good", "1"),
		"bad.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Bad_Name}\n",
	})
	l.create("app", func(s *kustomizev1.KustomizationSpec) { d := meta.NewDuration(time.Hour); s.RetryInterval = &d })
	_, first := l.failed("app", "ReconciliationFailed")
	if !strings.Contains(first, "\n  in bad.yaml\n") {
		t.Errorf("the first error does not name the file:\n%s", first)
	}
	for range 2 {
		at := l.request("app")
		k := l.until("app", "answered", func(k *kustomizev1.Kustomization) bool { return k.Status.LastHandledReconcileAt == at })
		if again := condition(k, meta.ReadyCondition).Message; again != first {
			t.Errorf("the retry says\n%s\nwant\n%s", again, first)
		}
	}
}

// TestOnErrorContinue applies what is valid, reports all that is not, and prunes nothing meanwhile.
func TestOnErrorContinue(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"old.yaml": configMap("old", "1")})
	l.create("app")
	l.ready("app", "r1")
	files := map[string]string{
		"one.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Bad_One}\n",
		"two.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad-two}\ndata: {n: [1]}\n",
		"good.yaml": configMap("good", "1"), "sa.yaml": "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: early}\n",
	}
	l.source("repo", "r2", files)
	_, message := l.failed("app", "ReconciliationFailed")
	if l.exists("good") {
		t.Error("without the annotation a valid object was applied beside an invalid one")
	}
	l.update("app", func(k *kustomizev1.Kustomization) {
		metav1.SetMetaDataAnnotation(&k.ObjectMeta, "gitops-toolkit.dev/on-error", "continue")
	})
	k := l.until("app", "changed", func(k *kustomizev1.Kustomization) bool {
		c := condition(k, meta.ReadyCondition)
		return c.Status == metav1.ConditionFalse && c.Message != message
	})
	message = condition(k, meta.ReadyCondition).Message
	for _, want := range []string{"Bad_One", "in one.yaml", "bad-two", "in two.yaml", "/good created"} {
		if !strings.Contains(message, want) {
			t.Errorf("the message does not tell %q:\n%s", want, message)
		}
	}
	if !l.exists("good") || !l.exists("old") || k.Status.LastAppliedRevision != "r1" {
		t.Errorf("good applied: %t, old kept: %t, status %+v", l.exists("good"), l.exists("old"), k.Status)
	}
	delete(files, "one.yaml")
	delete(files, "two.yaml")
	l.source("repo", "r3", files)
	l.ready("app", "r3")
	if l.exists("old") {
		t.Error("old is left after all was mended")
	}
}
