package helm_test

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/helm"
)

// patched changes every ConfigMap.
func patched() []helmv2.PostRenderer {
	return []helmv2.PostRenderer{{Kustomize: &helmv2.Kustomize{Patches: []meta.Patch{{
		Patch:  "{apiVersion: v1, kind: ConfigMap, metadata: {name: any, annotations: {patched: really}}}",
		Target: &meta.Selector{Kind: "ConfigMap"},
	}}}}}
}

// hooksPatched tells whether the hooks of the first revision went through the post-renderers.
func (l *lab) hooksPatched(t *testing.T, name string) bool {
	t.Helper()
	rel := l.readRevision(t, name, 1)
	if len(rel.Hooks) != 1 || !strings.Contains(rel.Manifest, "patched: really") {
		t.Fatalf("%d hooks, and the manifest\n%s", len(rel.Hooks), rel.Manifest)
	}
	return strings.Contains(rel.Hooks[0].Manifest, "patched: really")
}

// Hooks go through the post-renderers together with the rest, apart, or not at all.
func TestPostRenderStrategies(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", choices())
	for strategy, want := range map[string]bool{"": true, "combined": true, "separate": true, "nohooks": false} {
		name := "hooks-" + strategy + "x"
		l.create(name, func(s *spec) {
			s.Values, s.PostRenderers, s.PostRenderStrategy = values(t, `{"hooks":"pre-install"}`), patched(), strategy
		})
		l.ready(name, 1)
		if got := l.hooksPatched(t, name); got != want {
			t.Errorf("%q: hooks are patched: %t", strategy, got)
		}
	}
}

// The gates of this controller that change how releases are made.
func TestGates(t *testing.T) {
	t.Parallel()
	l := newLab(t, func(l *lab) {
		for _, gate := range []string{helm.GateUseHelm3Defaults, helm.GateDisableChartDigestTracking, helm.GateDefaultToRetryOnFailure} {
			l.settings.Gates[gate] = true
		}
	})
	l.source("demo", "1.0.0", choices())
	// Helm 3 counts a Deployment as ready that may miss its only pod.
	l.create("app", func(s *spec) {
		s.Values, s.PostRenderers = values(t, `{"hooks":"pre-install","deployment":1,"mayMiss":true}`), patched()
	})
	hr := l.ready("app", 1)
	if h := hr.Status.History[0]; h.ChartVersion != "1.0.0" || h.OCIDigest == "" {
		t.Errorf("the chart is %s of %q", h.ChartVersion, h.OCIDigest)
	}
	if l.hooksPatched(t, "app") || l.readRevision(t, "app", 1).ApplyMethod == "ssa" {
		t.Error("not released as Helm 3 did")
	}
	l.create("bad", func(s *spec) { s.Values = values(t, `{"invalid":true}`) })
	hr = l.until("bad", "waiting to try again", func(hr *helmv2.HelmRelease) bool {
		c := condition(hr, meta.ReconcilingCondition)
		return c != nil && c.Message == "retrying after 5m0s"
	})
	if condition(hr, meta.StalledCondition) != nil || hr.Status.ObservedGeneration != hr.Generation {
		t.Errorf("status %+v", hr.Status)
	}
}

// What the server refuses of a chart comes with what to do about it, behind the words of upstream.
func TestRefusalSaysWhatToDo(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", map[string]string{"templates/quoted.yaml": "apiVersion: apps/v1\nkind: Deployment\n" +
		"metadata: {name: quoted}\nspec: {replicas: \"two\", selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}\n"}))
	l.create("app")
	_, message := l.failed("app", "InstallFailed")
	if !strings.Contains(message, "expected numeric") || !strings.HasSuffix(message, "; write spec.replicas as a number, without quotes") {
		t.Errorf("Ready says %q", message)
	}
}

// A chart of another name is another release, or an upgrade where the spec says so.
func TestChartNameChange(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	renamed := map[string]string{"Chart.yaml": "apiVersion: v2\nname: other\nversion: 1.0.0\n"}
	for name, strategy := range map[string]string{"anew": "", "in-place": "InPlaceUpdate"} {
		l.source(name, "1.0.0", demo("1.0.0", nil))
		l.create(name, func(s *spec) {
			s.ChartRef.Name, s.Upgrade = name, &helmv2.Upgrade{ChartNameChangeStrategy: strategy}
		})
		l.ready(name, 1)
		l.source(name, "1.0.0", demo("1.0.0", renamed))
		hr := l.until(name, "of the other chart", func(hr *helmv2.HelmRelease) bool {
			latest := hr.Status.History.Latest()
			return latest != nil && latest.ChartName == "other" && latest.Status == "deployed"
		})
		want := map[string]int{"anew": 1, "in-place": 2}[name]
		if got := hr.Status.History.Latest().Version; got != want {
			t.Errorf("%s: the release is v%d, want v%d", name, got, want)
		}
	}
}

// Expressions tell when an object counts as ready.
func TestHealthCheckExprs(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	exprs := func(s *spec) {
		s.Timeout = shortly()
		s.HealthCheckExprs = []meta.CustomHealthCheck{{APIVersion: "v1", Kind: "ConfigMap", Current: "data.message == 'done'"}}
	}
	l.create("done", exprs, to(t, `{"message":"done"}`))
	l.ready("done", 1)
	l.create("never", exprs)
	if _, message := l.failed("never", "InstallFailed"); !strings.Contains(message, "ConfigMap/"+l.namespace+"/never") {
		t.Errorf("Ready says %q", message)
	}
}

// An object that asks to be left alone is, as long as it asks.
func TestDriftDetectionDisabled(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source("demo", "1.0.0", demo("1.0.0", nil))
	l.create("app", func(s *spec) { s.DriftDetection, s.Interval = &helmv2.DriftDetection{Mode: "enabled"}, *shortly() })
	l.ready("app", 1)
	mark := func(value string) {
		t.Helper()
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "app"}}
		if err := l.client.Patch(t.Context(), cm, mergePatch(`{"metadata":{"annotations":{"`+helmv2.DriftDetectionAnnotation+`":`+value+`}}}`)); err != nil {
			t.Fatal(err)
		}
	}
	mark(`"disabled"`)
	l.edit("app", "message", "edited")
	l.request("app")
	if got := l.configMap("app")["message"]; got != "edited" {
		t.Errorf("left alone, the ConfigMap holds %q", got)
	}
	mark("null")
	l.waitFor("the edit to be put back", func(context.Context) bool { return l.configMap("app")["message"] == "hello" })
}
