package kustomize_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
)

// rival changes a ConfigMap as somebody else.
func (l *lab) rival(name, value string) {
	l.t.Helper()
	cm := l.configMapOf(name)
	old := cm.DeepCopy()
	cm.Data["value"] = value
	if err := l.client.Patch(l.t.Context(), cm, client.MergeFrom(old), client.FieldOwner("rival")); err != nil {
		l.t.Fatal(err)
	}
}

func ends(suffix string) func(posted) bool {
	return func(e posted) bool { return strings.HasSuffix(e.Message, suffix) }
}

// settled waits until the finish event of a revision, after which no request follows.
func (l *lab) settled(name, revision string) *kustomizev1.Kustomization {
	l.t.Helper()
	k := l.ready(name, revision)
	l.event(name, func(e posted) bool {
		return strings.HasPrefix(e.Message, "Reconciliation finished") && e.Metadata["kustomize.toolkit.fluxcd.io/revision"] == revision
	})
	return k
}

func fourMaps() map[string]string {
	files := map[string]string{}
	for _, name := range []string{"a", "b", "c", "d"} {
		files[name+".yaml"] = configMap(name, "1")
	}
	return files
}

// TestDriftIsPutBack edits and deletes objects and expects them back long before the interval.
func TestDriftIsPutBack(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", fourMaps())
	l.create("app")
	before := l.settled("app", "r1")
	if before.Status.Tracked == "" || before.Status.Inputs == "" {
		t.Errorf("nothing was kept for a restart: %+v", before.Status)
	}
	l.proxy.take()
	l.artifacts.fetches()
	verdicts := l.verdicts("app")
	l.rival("a", "drifted")
	e := l.event("app", func(e posted) bool { return strings.Contains(e.Message, "/a configured") })
	if want := "ConfigMap/" + l.namespace + "/a configured\n  put back: .data.value taken by rival at 20"; !strings.HasPrefix(e.Message, want) || e.Reason != "Progressing" {
		t.Errorf("event = %+v, want %q…", e, want)
	}
	if v := l.configMapOf("a").Data["value"]; v != "1" {
		t.Errorf("value = %q", v)
	}
	for l.verdicts("app") == verdicts {
		time.Sleep(10 * time.Millisecond)
	}
	seen := l.proxy.take()
	// The status keeps our entry's time, in seconds: a correction in the second of the first apply leaves it as it was.
	if d, a, s, ev := count(seen, "dry-run"), count(seen, "apply"), count(seen, "status"), count(seen, "event"); d != 0 || a != 1 || s > 1 || ev > 2 || len(seen)-ev-s != 1 {
		t.Errorf("a correction cost %v", seen)
	}
	if err := l.client.Delete(t.Context(), l.configMapOf("b")); err != nil {
		t.Fatal(err)
	}
	l.event("app", ends("/b created"))
	if n := l.artifacts.fetches(); n != 0 {
		t.Errorf("%d fetches, want 0", n)
	}
}

// TestDriftWaitsWhereAskedFor leaves drift until the next pass.
func TestDriftWaitsWhereAskedFor(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*setup){
		"annotation": func(*setup) {},
		"flag":       func(s *setup) { s.options.CorrectAtInterval = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t, change)
			l.source("repo", "r1", fourMaps())
			l.create("passive", func(s *kustomizev1.KustomizationSpec) { s.Interval = meta.NewDuration(4 * time.Second) })
			if name == "annotation" {
				l.update("passive", func(k *kustomizev1.Kustomization) {
					metav1.SetMetaDataAnnotation(&k.ObjectMeta, "gitops-toolkit.dev/drift-correction", "interval")
				})
			}
			l.settled("passive", "r1")
			l.passes("passive", 1)
			verdicts := l.verdicts("passive")
			l.rival("a", "drifted")
			e := l.event("passive", func(e posted) bool { return strings.Contains(e.Message, "/a configured") })
			if !strings.Contains(e.Message, "taken by rival") {
				t.Errorf("event = %+v", e)
			}
			l.passes("passive", 0)
			if n := l.verdicts("passive"); n > verdicts+2 {
				t.Errorf("%d passes for one interval", n-verdicts)
			}
		})
	}
}

// TestFightIsDamped takes a field again after it was put back: the next correction waits, and an event names both.
func TestFightIsDamped(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", fourMaps())
	l.create("app")
	l.settled("app", "r1")
	l.rival("a", "one")
	l.event("app", func(e posted) bool { return strings.Contains(e.Message, "/a configured") })
	l.rival("a", "two")
	e := l.event("app", func(e posted) bool { return e.Reason == "DriftContested" })
	if !strings.Contains(e.Message, "ConfigMap/"+l.namespace+"/a: rival changes what kustomize-controller has put back") || e.Severity != "info" {
		t.Errorf("event = %+v", e)
	}
	if v := l.configMapOf("a").Data["value"]; v != "two" {
		t.Errorf("value = %q, want the rival's until the interval", v)
	}
	at := l.request("app")
	l.until("app", "answered", func(k *kustomizev1.Kustomization) bool { return k.Status.LastHandledReconcileAt == at })
	if v := l.configMapOf("a").Data["value"]; v != "1" {
		t.Errorf("value = %q after a request", v)
	}
}

// TestRestart stops the controller and starts it again: what nobody touched costs nothing, what somebody did is found.
func TestRestart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	files := fourMaps()
	l.source("repo", "r1", files)
	l.create("app")
	k := l.settled("app", "r1")
	l.stop()
	l.proxy.take()
	l.artifacts.fetches()
	l.start()
	l.passes("app", 1)
	seen := l.proxy.take()
	if n := count(seen, "dry-run") + count(seen, "apply") + count(seen, "status") + count(seen, "event"); n != 0 {
		t.Errorf("a restart cost %v", seen)
	}
	if n := l.artifacts.fetches(); n != 0 {
		t.Errorf("%d fetches, want 0", n)
	}
	if v := l.get("app").ResourceVersion; v != k.ResourceVersion {
		t.Errorf("the object was written: %s, before %s", v, k.ResourceVersion)
	}

	files["a.yaml"] = configMap("a", "2")
	l.source("repo", "r2", files)
	l.settled("app", "r2")
	if seen := l.proxy.take(); count(seen, "dry-run") != 1 || count(seen, "apply") != 1 {
		t.Errorf("one changed object after the restart cost %v", seen)
	}

	l.stop()
	l.rival("b", "drifted")
	if err := l.client.Delete(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "c"}}); err != nil {
		t.Fatal(err)
	}
	l.start()
	l.event("app", func(e posted) bool {
		return strings.Contains(e.Message, "/b configured") && strings.Contains(e.Message, "/c created")
	})
	l.rival("d", "drifted")
	l.event("app", func(e posted) bool { return strings.Contains(e.Message, "/d configured") })
}

// TestDriftDuringWait edits an object while the verdict about another one is awaited.
func TestDriftDuringWait(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", map[string]string{"d.yaml": deployment("web", "5s"), "a.yaml": configMap("a", "1")})
	l.create("app", func(s *kustomizev1.KustomizationSpec) { s.Wait = true })
	l.until("app", "waiting", func(k *kustomizev1.Kustomization) bool {
		c := condition(k, meta.ReconcilingCondition)
		return c != nil && strings.HasPrefix(c.Message, "Running health checks")
	})
	l.rival("a", "drifted")
	l.event("app", func(e posted) bool { return strings.Contains(e.Message, "/a configured") })
	if k := l.get("app"); condition(k, meta.ReadyCondition).Status == metav1.ConditionTrue {
		t.Error("the correction came after the wait")
	}
	l.ready("app", "r1")
	for _, e := range l.events.of("app") {
		if strings.HasPrefix(e.Message, "Health checks canceled") || e.Severity == "error" {
			t.Errorf("the wait was disturbed: %+v", e)
		}
	}
}

// TestOwnersAreForgotten deletes a Kustomization that leaves its objects: nobody puts them back any more.
func TestOwnersAreForgotten(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("repo", "r1", fourMaps())
	l.create("app", func(s *kustomizev1.KustomizationSpec) { s.Prune = false })
	l.create("watcher", func(s *kustomizev1.KustomizationSpec) { s.NamePrefix = "w-" })
	l.settled("app", "r1")
	l.settled("watcher", "r1")
	l.delete("app")
	l.rival("a", "theirs")
	l.rival("w-a", "drifted")
	l.event("watcher", func(e posted) bool { return strings.Contains(e.Message, "/w-a configured") })
	if v := l.configMapOf("a").Data["value"]; v != "theirs" {
		t.Errorf("value = %q: an orphan was corrected", v)
	}
}
