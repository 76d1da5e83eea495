package kustomize_test

import (
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
)

// moody lets ConfigMaps be unhealthy by keys that the Kustomization does not own.
func moody(s *kustomizev1.KustomizationSpec) {
	s.Wait = true
	s.HealthCheckExprs = []meta.CustomHealthCheck{{
		APIVersion: "v1", Kind: "ConfigMap", Current: "!('sick' in data)", InProgress: "'sick' in data", Failed: "'dead' in data",
	}}
}

// mood sets or removes a key of a ConfigMap as somebody else.
func (l *lab) mood(name, key string, set bool) {
	l.t.Helper()
	value := "null"
	if set {
		value = `"yes"`
	}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"data":{"`+key+`":`+value+`}}`))
	if err := l.client.Patch(l.t.Context(), l.configMapOf(name), patch, client.FieldOwner("mood")); err != nil {
		l.t.Fatal(err)
	}
}

// count returns how many events about an object are as wanted.
func (l *lab) count(name string, wanted func(posted) bool) int {
	n := 0
	for _, e := range l.events.of(name) {
		if wanted(e) {
			n++
		}
	}
	return n
}

func isError(e posted) bool  { return e.Severity == "error" }
func isPassed(e posted) bool { return strings.HasPrefix(e.Message, "Health check passed in ") }

// TestHealthAfterSuccess lets an object fall ill long after it was applied, and recover.
func TestHealthAfterSuccess(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"a.yaml": configMap("a", "1"), "b.yaml": configMap("b", "1")})
	l.create("app", moody, func(s *kustomizev1.KustomizationSpec) {
		timeout, retry := meta.NewDuration(30*time.Second), meta.NewDuration(time.Second) // the least that counts
		s.Timeout, s.RetryInterval = &timeout, &retry
	})
	l.settled("app", "r1")
	l.mood("a", "sick", true) // a moment of weakness is none of anybody's business
	l.mood("a", "sick", false)
	l.mood("a", "sick", true)
	k, message := l.failed("app", "HealthCheckFailed")
	if want := "timeout waiting for: [ConfigMap/" + l.namespace + "/a status: 'InProgress']"; !strings.HasPrefix(message, "health check failed after 30") || !strings.Contains(message, want) {
		t.Errorf("message = %q, want %q", message, want)
	}
	if c := condition(k, meta.HealthyCondition); c.Status != metav1.ConditionFalse || c.Reason != "HealthCheckFailed" {
		t.Errorf("Healthy = %+v", c)
	}
	l.passes("app", 2) // retries that find the same
	if n := l.count("app", isError); n != 1 {
		t.Errorf("%d error events, want 1", n)
	}
	first := l.count("app", isPassed)
	l.mood("a", "sick", false)
	l.until("app", "healthy again", func(k *kustomizev1.Kustomization) bool {
		return apimeta.IsStatusConditionTrue(k.Status.Conditions, meta.HealthyCondition) && apimeta.IsStatusConditionTrue(k.Status.Conditions, meta.ReadyCondition)
	})
	l.event("app", func(posted) bool { return l.count("app", isPassed) == first+1 })
}

// TestFailedAtInterval gives an object that has failed no more time than until the interval, as upstream does.
func TestFailedAtInterval(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"a.yaml": configMap("a", "1")})
	l.create("app", moody, func(s *kustomizev1.KustomizationSpec) {
		retry := meta.NewDuration(time.Second)
		s.Interval, s.RetryInterval = meta.NewDuration(3*time.Second), &retry
		timeout := meta.NewDuration(time.Hour)
		s.Timeout = &timeout
	})
	l.settled("app", "r1")
	l.mood("a", "dead", true)
	_, message := l.failed("app", "HealthCheckFailed")
	if want := "failed early due to stalled resources: [ConfigMap/" + l.namespace + "/a status: 'Failed']"; !strings.Contains(message, want) {
		t.Errorf("message = %q, want %q", message, want)
	}
	l.passes("app", 2)
	if n := l.count("app", isError); n != 1 {
		t.Errorf("%d error events, want 1", n)
	}
	l.mood("a", "dead", false)
	l.ready("app", "r1")
}

// TestHealthAfterRestart notices what fell ill while no controller ran.
func TestHealthAfterRestart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"a.yaml": configMap("a", "1")})
	l.create("app", moody, func(s *kustomizev1.KustomizationSpec) {
		timeout := meta.NewDuration(30 * time.Second)
		s.Timeout = &timeout
	})
	l.settled("app", "r1")
	l.stop()
	l.mood("a", "sick", true)
	l.start()
	l.failed("app", "HealthCheckFailed")
	l.mood("a", "sick", false)
	l.ready("app", "r1")
}
