package helm_test

import (
	"strings"
	"testing"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
)

func TestInstallUpgradeUninstall(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	l.create("app", func(s *helmv2.HelmReleaseSpec) { s.Values = values(t, `{"message":"first"}`) })
	hr := l.ready("app", 1)
	if c := condition(hr, meta.ReadyCondition); c.Reason != "InstallSucceeded" ||
		!strings.HasPrefix(c.Message, "Helm install succeeded for release "+l.namespace+"/app.v1 with chart demo@1.0.0+") {
		t.Errorf("Ready is %+v", c)
	}
	if data := l.configMap("app"); data["message"] != "first" || data["revision"] != "1" {
		t.Errorf("the ConfigMap holds %v", data)
	}
	if inv := hr.Status.Inventory; inv == nil || len(inv.Entries) != 1 || inv.Entries[0].ID != l.namespace+"_app__ConfigMap" {
		t.Errorf("inventory %+v", inv)
	}
	if e := l.event("app", "InstallSucceeded"); e.Metadata["helm.toolkit.fluxcd.io/revision"] == "" || e.Metadata["helm.toolkit.fluxcd.io/token"] != hr.Status.LastAttemptedConfigDigest {
		t.Errorf("event %+v", e)
	}
	l.update("app", func(hr *helmv2.HelmRelease) { hr.Spec.Values = values(t, `{"message":"second"}`) })
	hr = l.ready("app", 2)
	if data := l.configMap("app"); data["message"] != "second" || data["revision"] != "2" {
		t.Errorf("the ConfigMap holds %v", data)
	}
	if h := hr.Status.History; len(h) != 2 || h[0].Status != "deployed" || h[0].Action != "upgrade" || h[1].Status != "superseded" || h[1].Action != "" {
		t.Errorf("history %+v %+v", h[0], h[1])
	}
	l.source("demo", "1.1.0", demo("1.1.0", nil))
	l.ready("app", 3)
	if data := l.configMap("app"); !strings.HasPrefix(data["chart"], "1.1.0+") {
		t.Errorf("the ConfigMap holds %v", data)
	}
	l.delete("app")
	l.gone("app")
	if l.configMap("app") != nil || len(l.storedRevisions("app")) != 0 {
		t.Errorf("something is left: %v %v", l.configMap("app"), l.storedRevisions("app"))
	}
}

func TestUnchangedCostsNothing(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	l.create("app", func(s *helmv2.HelmReleaseSpec) { s.Interval = meta.NewDuration(1e9) })
	l.ready("app", 1)
	l.event("app", "InstallSucceeded")
	settle(t, l)
	l.requests()
	l.source("other", "1.0.0", demo("1.0.0", nil)) // something to wait for: another release comes and goes at the same time
	l.create("other", func(s *helmv2.HelmReleaseSpec) { s.ChartRef.Name = "other" })
	l.ready("other", 1)
	settle(t, l)
	for _, r := range l.requests() {
		if strings.Contains(r, "/helmreleases/app") || strings.Contains(r, "name%3Dapp") {
			t.Errorf("an unchanged release asked %s", r)
		}
	}
	if n := l.cache.Parsed(); n != 1 {
		t.Errorf("the chart was parsed %d times", n)
	}
}
