package helm_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
