package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/test/servers/git"
)

// answered is what `flux reconcile` and `kubectl wait` look at: the request was handled, the
// generation was observed, Ready is True and nothing is under way.
func answered(o *unstructured.Unstructured, token string) bool {
	if o == nil {
		return false
	}
	handled, _, _ := unstructured.NestedString(o.Object, "status", "lastHandledReconcileAt")
	observed, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
	return handled == token && observed == o.GetGeneration() &&
		conditionOf(o, "Ready").status == "True" && conditionOf(o, "Reconciling").status != "True"
}

// A request is not answered before the fetch that it asked for has ended.
func TestSourceAnswersAfterTheFetch(t *testing.T) {
	s := begin(t)
	slow, err := git.Start(git.Options{Root: t.TempDir(), HTTP: git.AnyPort, AnonymousRead: true, Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				time.Sleep(700 * time.Millisecond) // a stage of work, not a wait for an event
			}
			next.ServeHTTP(w, r)
		})
	}})
	s.must(err, "start a slow Git server")
	t.Cleanup(func() { slow.Close() })
	repo, err := slow.Create("slow", "master")
	s.must(err, "create a repository")
	first, err := repo.Commit(map[string]string{"kustomize/a.yaml": configMap("a", "one")}, "one")
	s.must(err, "commit")
	s.apply(strings.Replace(fmt.Sprintf(source, slow.HTTPURL("slow"), "master"), "interval: 3s", "interval: 10m", 1))
	s.ready("GitRepository", "podinfo", first)

	second, err := repo.Commit(map[string]string{"kustomize/a.yaml": configMap("a", "two")}, "two")
	s.must(err, "commit")
	token := s.request("GitRepository", "podinfo")
	o := s.await("GitRepository", "podinfo", "an answer to the request", func(o *unstructured.Unstructured) bool { return answered(o, token) })
	if revision, _, _ := unstructured.NestedString(o.Object, "status", "artifact", "revision"); !strings.Contains(revision, second) {
		t.Errorf("the request was answered with %s, before %s was fetched", revision, second)
	}
}

const slowDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: slow}
spec:
  selector: {matchLabels: {app: slow}}
  template:
    metadata:
      labels: {app: slow}
      annotations: {gitops-toolkit.dev/sandbox-ready-after: %s}
    spec: {containers: [{name: main, image: example.com/slow:%s}]}
`

// With wait, neither a new revision nor a request is answered before the workload is healthy.
func TestKustomizationAnswersAfterHealth(t *testing.T) {
	s := begin(t)
	first := s.commit(map[string]string{"kustomize/slow.yaml": fmt.Sprintf(slowDeployment, "1s", "v1")})
	s.apply(strings.Replace(podinfo, "  prune: true\n", "  prune: true\n  wait: true\n  timeout: 2m\n", 1))
	s.ready("Kustomization", "podinfo", first)
	s.healthy("the first revision")

	second := s.commit(map[string]string{"kustomize/slow.yaml": fmt.Sprintf(slowDeployment, "3s", "v2")})
	s.await("Kustomization", "podinfo", "work on the second revision", func(o *unstructured.Unstructured) bool {
		return conditionOf(o, "Ready").status == "Unknown" && strings.Contains(conditionOf(o, "Reconciling").message, second)
	})
	token := s.request("Kustomization", "podinfo")
	o := s.await("Kustomization", "podinfo", "an answer to the request", func(o *unstructured.Unstructured) bool { return answered(o, token) })
	if revision, _, _ := unstructured.NestedString(o.Object, "status", "lastAppliedRevision"); revision != second {
		t.Errorf("the request was answered at %s, %s was under way", revision, second)
	}
	s.healthy("the second revision")
}

// healthy fails the test unless the Deployment has rolled out whole.
func (s *scenario) healthy(what string) {
	s.Helper()
	d := s.get("Deployment", "slow")
	updated, _, _ := unstructured.NestedInt64(d.Object, "status", "updatedReplicas")
	available, _, _ := unstructured.NestedInt64(d.Object, "status", "availableReplicas")
	observed, _, _ := unstructured.NestedInt64(d.Object, "status", "observedGeneration")
	if updated != 1 || available != 1 || observed != d.GetGeneration() {
		s.Errorf("Ready was True for %s before the Deployment had rolled out: %v", what, d.Object["status"])
	}
}

// A bad commit that waits for health does not hold up its fix.
func TestFixOvertakesBadCommit(t *testing.T) {
	s := begin(t)
	never := strings.Replace(fmt.Sprintf(slowDeployment, "1s", "bad"), "sandbox-ready-after: 1s", "sandbox-fail: NeverReady", 1)
	bad := s.commit(map[string]string{"kustomize/slow.yaml": never})
	s.apply(strings.Replace(podinfo, "  prune: true\n", "  prune: true\n  wait: true\n  timeout: 10m\n", 1))
	s.await("Kustomization", "podinfo", "waiting for the bad revision", func(o *unstructured.Unstructured) bool {
		c := conditionOf(o, "Reconciling")
		return c.status == "True" && strings.Contains(c.message, "Running health checks") && strings.Contains(c.message, bad)
	})
	s.ready("Kustomization", "podinfo", s.commit(map[string]string{"kustomize/slow.yaml": fmt.Sprintf(slowDeployment, "100ms", "good")}))
}

// A request while a wait is under way looks at the objects again at once, and is answered when that
// wait ends: it does not begin another.
func TestRequestJoinsTheWait(t *testing.T) {
	s := begin(t)
	never := strings.Replace(fmt.Sprintf(slowDeployment, "1s", "bad"), "sandbox-ready-after: 1s", "sandbox-fail: NeverReady", 1)
	rev := s.commit(map[string]string{"kustomize/slow.yaml": never})
	s.apply(strings.NewReplacer("  prune: true\n", "  prune: true\n  wait: true\n  timeout: 30s\n", "retryInterval: 3s", "retryInterval: 10m").Replace(podinfo))
	s.await("Kustomization", "podinfo", "waiting", func(o *unstructured.Unstructured) bool {
		c := conditionOf(o, "Reconciling")
		return strings.Contains(c.message, "Running health checks") && strings.Contains(c.message, rev)
	})
	token := s.request("Kustomization", "podinfo")
	s.await("Kustomization", "podinfo", "the verdict", func(o *unstructured.Unstructured) bool {
		return conditionOf(o, "Ready").reason == "HealthCheckFailed"
	})
	o := s.get("Kustomization", "podinfo")
	if handled, _, _ := unstructured.NestedString(o.Object, "status", "lastHandledReconcileAt"); handled != token {
		t.Errorf("the verdict of the wait left the request %s unanswered: %q", token, handled)
	}
}
