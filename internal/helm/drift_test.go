package helm_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
)

// edit changes a key of a ConfigMap as a person would.
func (l *lab) edit(name, key, value string) {
	l.t.Helper()
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: name}}
	if err := l.client.Patch(l.t.Context(), cm, mergePatch(`{"data":{"`+key+`":"`+value+`"}}`)); err != nil {
		l.t.Fatal(err)
	}
}

// The interval is an hour: what is put back was seen by the watch, whichever side applied it.
func TestDriftIsPutBackAtOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	for name, serverSide := range map[string]bool{"server": true, "client": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := l.with(t)
			l.create(name, func(s *helmv2.HelmReleaseSpec) {
				s.DriftDetection = &helmv2.DriftDetection{Mode: "enabled"}
				s.Install = &helmv2.Install{ServerSideApply: &serverSide}
			})
			hr := l.ready(name, 1)
			if c := condition(hr, "Drifted"); c == nil || c.Status != metav1.ConditionFalse || c.Reason != "NoDriftDetected" {
				t.Errorf("Drifted is %+v", c)
			}
			l.edit(name, "message", "edited")
			for begun := time.Now(); l.configMap(name)["message"] != "hello"; time.Sleep(50 * time.Millisecond) {
				if time.Since(begun) > patience {
					t.Fatal("the edit was not put back")
				}
			}
			if e := l.event(name, "DriftDetected"); !strings.Contains(e.Message, "ConfigMap/"+l.namespace+"/"+name+" changed (0 additions, 1 changes, 0 removals)") {
				t.Errorf("event %+v", e)
			}
			if e := l.event(name, "DriftCorrected"); !strings.Contains(e.Message, "ConfigMap/"+l.namespace+"/"+name+" configured") {
				t.Errorf("event %+v", e)
			}
		})
	}
}

// What others may change stays when another field of the same object is put back, whichever side applied it.
func TestIgnoredFieldsStay(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	for name, serverSide := range map[string]bool{"server": true, "client": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := l.with(t)
			l.create(name, func(s *helmv2.HelmReleaseSpec) {
				s.DriftDetection = &helmv2.DriftDetection{Mode: "enabled", Ignore: []meta.IgnoreRule{{Paths: []string{"/data/revision"}}}}
				s.Install = &helmv2.Install{ServerSideApply: &serverSide}
			})
			l.ready(name, 1)
			l.edit(name, "revision", "theirs")
			l.edit(name, "message", "edited")
			l.request(name)
			l.waitFor("the message to be put back", func(context.Context) bool { return l.configMap(name)["message"] == "hello" })
			if got := l.configMap(name)["revision"]; got != "theirs" {
				t.Errorf("the field that others may change is %q", got)
			}
		})
	}
}

func TestDriftIsReported(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	l.create("warned", func(s *helmv2.HelmReleaseSpec) {
		s.DriftDetection = &helmv2.DriftDetection{Mode: "warn", Ignore: []meta.IgnoreRule{{Paths: []string{"/data/revision"}}}}
	})
	l.ready("warned", 1)
	l.edit("warned", "revision", "ignored")
	l.edit("warned", "message", "edited")
	l.request("warned") // objects with ignored fields are looked at at the interval, or when asked
	hr := l.until("warned", "Drifted", func(hr *helmv2.HelmRelease) bool {
		c := condition(hr, "Drifted")
		return c != nil && c.Status == metav1.ConditionTrue
	})
	if c := condition(hr, "Drifted"); !strings.Contains(c.Message, "(0 additions, 1 changes, 0 removals)") || condition(hr, "Ready").Status != metav1.ConditionTrue {
		t.Errorf("Drifted is %+v, Ready %+v", c, condition(hr, "Ready"))
	}
	if l.configMap("warned")["message"] != "edited" {
		t.Error("what is only to be reported was corrected")
	}
}

// several is a chart of four ConfigMaps.
func several() map[string]string {
	more := map[string]string{}
	for _, n := range []string{"two", "three", "four"} {
		more["templates/"+n+".yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}-" + n + "}\ndata: {message: {{ .Values.message | quote }}}\n"
	}
	more["templates/secret.yaml"] = "apiVersion: v1\nkind: Secret\nmetadata: {name: {{ .Release.Name }}}\nstringData: {word: {{ .Values.message | quote }}}\n"
	return demo("1.0.0", more)
}

// An object that drifted costs a read of the record, a read of the object, a dry-run and an apply, and the events; the other
// objects cost nothing.
func TestDriftCostsWhatDrifted(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", several())
	l.create("app", func(s *helmv2.HelmReleaseSpec) { s.DriftDetection = &helmv2.DriftDetection{Mode: "enabled"} })
	l.ready("app", 1)
	settle(t, l)
	l.requests()
	l.edit("app-two", "message", "edited")
	if e := l.event("app", "DriftCorrected"); !strings.Contains(e.Message, "app-two configured\n  put back: .data.message taken by ") {
		t.Errorf("event %+v", e)
	}
	settle(t, l)
	seen := l.requests()
	// One patch of the status, and on a machine that is slow others that tell the progress.
	if work := slices.DeleteFunc(slices.Clone(seen), func(r string) bool { return strings.Contains(r, "/status?") }); len(work) > 6 {
		t.Errorf("%d requests:\n%s", len(work), strings.Join(work, "\n"))
	}
	for _, r := range seen {
		if strings.Contains(r, "configmaps/") && !strings.Contains(r, "configmaps/app-two") {
			t.Errorf("an object that had not drifted was looked at: %s", r)
		}
	}
	if got := l.configMap("app-two")["message"]; got != "hello" {
		t.Errorf("the ConfigMap holds %q", got)
	}
	// What the chart gives as text is the server's data.
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "app"}}
	if err := l.client.Patch(t.Context(), secret, mergePatch(`{"stringData":{"word":"edited"}}`)); err != nil {
		t.Fatal(err)
	}
	l.waitFor("the Secret to be put back", func(ctx context.Context) bool {
		return l.client.Get(ctx, client.ObjectKeyFromObject(secret), secret) == nil && string(secret.Data["word"]) == "hello"
	})
	// Whoever takes it again is reported, and left until the interval, or until somebody asks.
	l.edit("app-two", "message", "edited")
	l.event("app", "DriftContested")
	settle(t, l)
	if got := l.configMap("app-two")["message"]; got != "edited" {
		t.Errorf("in a fight, the ConfigMap holds %q", got)
	}
	l.request("app")
	if got := l.configMap("app-two")["message"]; got != "hello" {
		t.Errorf("after a request the ConfigMap holds %q", got)
	}
}

// What is only reported is reported whole, each drift is looked at once, and what is mended is told no more.
func TestWarningsNameAllThatDrifted(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", several())
	l.create("app", func(s *helmv2.HelmReleaseSpec) { s.DriftDetection = &helmv2.DriftDetection{Mode: "warn"} })
	l.ready("app", 1)
	drifted := func(names ...string) {
		t.Helper()
		l.until("app", "drifted in "+strings.Join(names, ", "), func(hr *helmv2.HelmRelease) bool {
			c := condition(hr, "Drifted")
			for _, name := range names {
				if c == nil || !strings.Contains(c.Message, "ConfigMap/"+l.namespace+"/"+name+" changed") {
					return false
				}
			}
			return strings.Count(c.Message, " changed") == len(names)
		})
	}
	l.edit("app-two", "message", "edited")
	drifted("app-two")
	settle(t, l)
	l.requests()
	l.edit("app-four", "message", "edited")
	drifted("app-two", "app-four")
	settle(t, l)
	for _, r := range l.requests() {
		if strings.Contains(r, "configmaps/") && !strings.Contains(r, "configmaps/app-four") {
			t.Errorf("looked at once more: %s", r)
		}
	}
	l.edit("app-two", "message", "hello")
	l.request("app")
	drifted("app-four")
}
