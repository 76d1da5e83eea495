package helm_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
)

// fragile is a chart whose Service the server refuses when .Values.invalid is set: the action fails after it was
// recorded. With .Values.stuck it has a Deployment that no node can take.
func fragile() map[string]string {
	return demo("1.0.0", map[string]string{
		"templates/service.yaml": `apiVersion: v1
kind: Service
metadata:
  name: {{ .Release.Name }}
spec:
  selector: {app: none}
  ports:
  - port: {{ if .Values.invalid }}99999{{ else }}80{{ end }}
`,
		"templates/deployment.yaml": `{{ if .Values.stuck }}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  replicas: 1
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      nodeSelector: {no: such}
      containers: [{name: c, image: "none:1"}]
{{ end }}
`,
	})
}

func TestFailedUpgradeRollsBack(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", fragile())
	l.create("app", func(s *helmv2.HelmReleaseSpec) {
		s.Upgrade = &helmv2.Upgrade{Remediation: &helmv2.UpgradeRemediation{Retries: 1}}
		s.Values = values(t, `{"message":"good"}`)
	})
	l.ready("app", 1)
	l.update("app", func(hr *helmv2.HelmRelease) { hr.Spec.Values = values(t, `{"message":"bad","invalid":true}`) })
	hr, message := l.stalled("app", "RetriesExceeded")
	if message != "Failed to upgrade after 2 attempt(s)" {
		t.Errorf("Stalled says %q", message)
	}
	if c := condition(hr, meta.ReadyCondition); c.Reason != "RollbackSucceeded" || c.Status != metav1.ConditionFalse ||
		!strings.Contains(c.Message, " succeeded\nafter: Helm upgrade failed for release "+l.namespace+"/app with chart ") || !strings.Contains(c.Message, "99999") {
		t.Errorf("Ready is %+v", c)
	}
	l.request("app")
	if again := condition(l.get("app"), meta.ReadyCondition); again.Message != condition(hr, meta.ReadyCondition).Message {
		t.Errorf("after a request Ready is %+v", again)
	}
	if c := condition(hr, "Released"); c.Reason != "UpgradeFailed" || !strings.Contains(c.Message, "99999") {
		t.Errorf("Released is %+v", c)
	}
	if hr.Status.UpgradeFailures != 2 || hr.Status.Failures != 2 {
		t.Errorf("failures %d, of upgrades %d", hr.Status.Failures, hr.Status.UpgradeFailures)
	}
	want := map[string]string{"1": "superseded", "2": "failed", "3": "superseded", "4": "failed", "5": "deployed"}
	for v, status := range l.storedRevisions("app") {
		if want[v] != status {
			t.Errorf("v%s is %s, want %s", v, status, want[v])
		}
	}
	if data := l.configMap("app"); data["message"] != "good" {
		t.Errorf("after the rollback the ConfigMap holds %v", data)
	}
	if e := l.event("app", "UpgradeFailed"); !strings.Contains(e.Message, "Last Helm logs:") || e.Severity != "error" {
		t.Errorf("event %+v", e)
	}
	// Going back to what was rolled back to needs no action at all.
	l.update("app", func(hr *helmv2.HelmRelease) { hr.Spec.Values = values(t, `{"message":"good"}`) })
	hr = l.ready("app", 5)
	if c := condition(hr, "Released"); c.Status != metav1.ConditionTrue || c.Reason != "UpgradeSucceeded" || condition(hr, "Remediated") != nil {
		t.Errorf("Released is %+v, Remediated %+v", c, condition(hr, "Remediated"))
	}
}

func TestFailedInstallIsRemoved(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", fragile())
	l.create("app", func(s *helmv2.HelmReleaseSpec) {
		s.Install = &helmv2.Install{Remediation: &helmv2.InstallRemediation{Retries: 1}}
		s.Values = values(t, `{"invalid":true}`)
	})
	hr, message := l.stalled("app", "RetriesExceeded")
	if message != "Failed to install after 2 attempt(s)" || condition(hr, meta.ReadyCondition).Reason != "InstallFailed" {
		t.Errorf("Stalled says %q, Ready %+v", message, condition(hr, meta.ReadyCondition))
	}
	l.event("app", "UninstallSucceeded")
	// A reset allows another round; the fix makes it succeed.
	l.update("app", func(hr *helmv2.HelmRelease) { hr.Spec.Values = values(t, `{}`) })
	hr = l.until("app", "Ready", func(hr *helmv2.HelmRelease) bool {
		c := condition(hr, meta.ReadyCondition)
		return c != nil && c.Status == metav1.ConditionTrue && hr.Status.ObservedGeneration == hr.Generation
	})
	if hr.Status.InstallFailures != 0 || l.configMap("app") == nil {
		t.Errorf("status %+v", hr.Status)
	}
}

func TestRetryOnFailure(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", fragile())
	l.create("app", func(s *helmv2.HelmReleaseSpec) {
		interval := meta.NewDuration(time.Second)
		s.Install = &helmv2.Install{Strategy: &helmv2.InstallStrategy{Name: "RetryOnFailure", RetryInterval: &interval}}
		s.Upgrade = &helmv2.Upgrade{Strategy: &helmv2.UpgradeStrategy{Name: "RetryOnFailure", RetryInterval: &interval}}
		s.Values = values(t, `{"invalid":true}`)
	})
	hr := l.until("app", "retried as an upgrade", func(hr *helmv2.HelmRelease) bool {
		latest := hr.Status.History.Latest()
		return latest != nil && latest.Version >= 3 && latest.Status == "failed"
	})
	if hr.Status.ObservedGeneration != hr.Generation || hr.Status.InstallFailures != 1 || condition(hr, "Remediated") != nil {
		t.Errorf("status %+v", hr.Status)
	}
	l.update("app", func(hr *helmv2.HelmRelease) { hr.Spec.Values = values(t, `{}`) })
	hr = l.until("app", "Ready", func(hr *helmv2.HelmRelease) bool {
		c := condition(hr, meta.ReadyCondition)
		return c != nil && c.Status == metav1.ConditionTrue && hr.Status.ObservedGeneration == hr.Generation
	})
	if hr.Status.Failures != 0 {
		t.Errorf("%d failures after a success", hr.Status.Failures)
	}
}

// A newer spec ends the wait; that is no failure, and the next action is an upgrade.
func TestNewerSpecCancelsTheWait(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", fragile())
	l.create("app", func(s *helmv2.HelmReleaseSpec) {
		s.Timeout = meta.DurationPtr(10 * time.Minute)
		s.Values = values(t, `{"stuck":true}`)
	})
	l.until("app", "waiting", func(hr *helmv2.HelmRelease) bool {
		c := condition(hr, meta.ReconcilingCondition)
		return c != nil && strings.HasPrefix(c.Message, "Running 'install' action")
	})
	for begun := time.Now(); l.storedRevisions("app")["1"] != "pending-install"; time.Sleep(50 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("storage %v", l.storedRevisions("app"))
		}
	}
	l.update("app", func(hr *helmv2.HelmRelease) { hr.Spec.Values = values(t, `{}`) })
	hr := l.ready("app", 2)
	if hr.Status.Failures != 0 || hr.Status.InstallFailures != 0 {
		t.Errorf("a cancelled wait was counted: %+v", hr.Status)
	}
	if got := l.storedRevisions("app"); got["1"] != "failed" && got["1"] != "superseded" || got["2"] != "deployed" {
		t.Errorf("storage %v", got)
	}
	l.event("app", meta.HealthCheckCanceledReason)
}

func TestTimeoutNamesWhatIsNotReady(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", fragile())
	l.create("app", func(s *helmv2.HelmReleaseSpec) {
		s.Timeout = meta.DurationPtr(2 * time.Second)
		s.Values = values(t, `{"stuck":true}`)
	})
	_, message := l.failed("app", "InstallFailed")
	want := "timeout waiting for: [Deployment/" + l.namespace + "/app status: 'InProgress']\nDeployment/" + l.namespace + "/app: "
	if !strings.Contains(message, want) {
		t.Errorf("Ready says %q, want %q in it", message, want)
	}
	l.stalled("app", "RetriesExceeded")
	// The next word of the user: force.
	l.update("app", func(hr *helmv2.HelmRelease) { hr.Spec.Suspend = true })
	l.update("app", func(hr *helmv2.HelmRelease) { hr.Spec.Suspend = false; hr.Spec.Values = values(t, `{}`) })
	l.ready("app", 2)
	before := l.get("app").Status.History.Latest().Version
	l.request("app", "reconcile.fluxcd.io/forceAt")
	if hr := l.ready("app", before+1); hr.Status.LastHandledForceAt == "" {
		t.Error("the request to force was not recorded")
	}
}
