package helm_test

import (
	"context"
	"strings"
	"testing"
	"time"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
)

// A HelmRelease that is renamed in Git is for a while there under both names. The new one takes the release over, the old
// one neither fights for it nor takes it along when it goes.
func TestTwoMeanOneRelease(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	shared := func(message string) func(*spec) {
		return func(s *spec) { s.ReleaseName, s.Values = "shared", values(t, `{"message":"`+message+`"}`) }
	}
	l.create("before", shared("before"))
	made := l.ready("before", 1).CreationTimestamp
	l.waitFor("the next second", func(context.Context) bool { return time.Now().Unix() > made.Unix() })
	l.create("after", shared("after"))
	l.ready("after", 2)
	l.request("before")
	if _, message := l.failed("before", "ReleaseClaimed"); !strings.Contains(message, "release "+l.namespace+"/shared belongs to HelmRelease "+l.namespace+"/after, which was created later") {
		t.Errorf("Ready says %q", message)
	}
	l.delete("before")
	l.gone("before")
	l.request("after")
	l.ready("after", 2)
	if got := l.configMap("shared")["message"]; got != "after" {
		t.Errorf("the ConfigMap holds %q", got)
	}
	// One that moves away leaves to another what has become the other's.
	l.waitFor("the next second", func(context.Context) bool { return time.Now().Unix() > l.get("after").CreationTimestamp.Unix() })
	l.create("third", shared("third"))
	l.ready("third", 3)
	l.update("after", func(hr *helmv2.HelmRelease) { hr.Spec.ReleaseName = "own" })
	l.until("after", "Ready under its own name", func(hr *helmv2.HelmRelease) bool {
		latest := hr.Status.History.Latest()
		return latest != nil && latest.Name == "own" && condition(hr, "Ready").Status == "True"
	})
	if got := l.configMap("shared")["message"]; got != "third" {
		t.Errorf("the ConfigMap holds %q", got)
	}
}
