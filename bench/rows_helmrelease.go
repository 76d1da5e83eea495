package main

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/test/harness"
)

// Rows about HelmReleases. All take the same chart of four objects from one HelmChart.
func init() {
	rows = append(rows,
		row{"HelmRelease install and upgrade, 4 objects", "44 / 50 requests; 195 / 320 ms CPU", "≤ 2 per object + 8; ≤ 60 ms CPU", helmReleaseOne},
		row{"HelmRelease unchanged", "5 requests, 10 ms CPU", "0 requests, 0 renders", helmReleaseUnchanged},
		row{"100 HelmReleases installed, upgraded, unchanged", "44 / 50 / 5 requests each; 265 MB", "≤ 16 / 16 / 0 requests each; ≤ 120 MiB",
			func(ctx context.Context, w *world) ([]figure, error) {
				return helmReleasesMany(ctx, w, min(100, w.many))
			}},
		row{"500 HelmReleases installed, upgraded, unchanged", "not measured", "≤ 16 / 16 / 0 requests each; ≤ 120 MiB",
			func(ctx context.Context, w *world) ([]figure, error) { return helmReleasesMany(ctx, w, w.many) }},
		row{"HelmReleases that drift", "at the next interval", "≤ 1 s (median)", helmReleasesDrift},
	)
}

var (
	helmReleases = schema.GroupVersionResource{Group: "helm.toolkit.fluxcd.io", Version: "v2", Resource: "helmreleases"}
	helmCharts   = schema.GroupVersionResource{Group: fluxURL, Version: "v1", Resource: "helmcharts"}
)

// withHelm starts helm-controller, offers the chart and installs a first release, so that first lists, discovery and
// the parsing of the chart are not charged to the row.
func (w *world) withHelm(ctx context.Context) (*harness.Process, error) {
	files := map[string]string{"chart/Chart.yaml": "apiVersion: v2\nname: bench\nversion: 1.0.0\n", "chart/values.yaml": "value: first\n"}
	for i := range 4 {
		files[fmt.Sprintf("chart/templates/cm%d.yaml", i)] = fmt.Sprintf(
			"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}-%d\ndata:\n  key: {{ .Values.value }}\n", i)
	}
	if _, err := w.commit(files); err != nil {
		return nil, err
	}
	if err := w.createSource(ctx, "1h"); err != nil {
		return nil, err
	}
	chart := object(fluxURL+"/v1", "HelmChart", "bench", map[string]any{
		"interval": "1h", "chart": "./chart", "sourceRef": map[string]any{"kind": "GitRepository", "name": "bench"},
	})
	if _, err := w.dyn.Resource(helmCharts).Namespace(namespace).Create(ctx, chart, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	helm, err := w.stack.Add(ctx, "helm-controller", "--events-addr=", "--concurrent=4")
	if err != nil {
		return nil, err
	}
	if err := w.createRelease(ctx, "warm", "1h", ""); err != nil {
		return nil, err
	}
	_, err = w.awaitReleased(ctx, 1, 1)
	return helm, err
}

// createRelease makes a HelmRelease; drift is the mode of its drift detection, "" for none.
func (w *world) createRelease(ctx context.Context, name, interval, drift string) error {
	spec := map[string]any{
		"interval": interval, "chartRef": map[string]any{"kind": "HelmChart", "name": "bench"}, "values": map[string]any{"value": "first"},
	}
	if drift != "" {
		spec["driftDetection"] = map[string]any{"mode": drift}
	}
	o := object("helm.toolkit.fluxcd.io/v2", "HelmRelease", name, spec)
	_, err := w.dyn.Resource(helmReleases).Namespace(namespace).Create(ctx, o, metav1.CreateOptions{})
	return err
}

func (w *world) setValue(ctx context.Context, name, value string) error {
	patch := fmt.Sprintf(`{"spec":{"values":{"value":%q}}}`, value)
	_, err := w.dyn.Resource(helmReleases).Namespace(namespace).Patch(ctx, name, "application/merge-patch+json", []byte(patch), metav1.PatchOptions{})
	return err
}

// awaitReleased waits until n HelmReleases are Ready with a revision.
func (w *world) awaitReleased(ctx context.Context, n int, version int64) (time.Duration, error) {
	start, ready := time.Now(), map[string]bool{}
	err := w.watch(ctx, helmReleases, func(o *unstructured.Unstructured) bool {
		history, _, _ := unstructured.NestedSlice(o.Object, "status", "history")
		if len(history) > 0 && conditionStatus(o, "Ready") == "True" {
			latest, _ := history[0].(map[string]any)
			ready[o.GetName()] = latest["version"] == version && latest["status"] == "deployed"
		}
		done := 0
		for _, ok := range ready {
			if ok {
				done++
			}
		}
		return done >= n
	})
	return time.Since(start), err
}

// helmCost runs the work and returns the requests and the CPU time of helm-controller.
func (w *world) helmCost(ctx context.Context, p *harness.Process, work func() error) ([]harness.Request, time.Duration, error) {
	if err := rest(ctx, 4*time.Second); err != nil {
		return nil, 0, err
	}
	if _, err := w.audit.Since(p.User); err != nil {
		return nil, 0, err
	}
	before, err := p.CPU()
	if err != nil {
		return nil, 0, err
	}
	if err := work(); err != nil {
		return nil, 0, err
	}
	if err := rest(ctx, 4*time.Second); err != nil {
		return nil, 0, err
	}
	after, err := p.CPU()
	if err != nil {
		return nil, 0, err
	}
	seen, err := w.audit.Since(p.User)
	return seen, after - before, err
}

func helmReleaseOne(ctx context.Context, w *world) ([]figure, error) {
	p, err := w.withHelm(ctx)
	if err != nil {
		return nil, err
	}
	install, installCPU, err := w.helmCost(ctx, p, func() error {
		if err := w.createRelease(ctx, "one", "1h", ""); err != nil {
			return err
		}
		_, err := w.awaitReleased(ctx, 2, 1)
		return err
	})
	if err != nil {
		return nil, err
	}
	upgrade, upgradeCPU, err := w.helmCost(ctx, p, func() error {
		if err := w.setValue(ctx, "one", "second"); err != nil {
			return err
		}
		_, err := w.awaitReleased(ctx, 1, 2)
		return err
	})
	if err != nil {
		return nil, err
	}
	return []figure{
		{"requests for an install", float64(len(install)), 2*4 + 8, "requests", harness.Summary(install)},
		{"CPU for an install", installCPU.Seconds() * 1000, 60, "ms", ""},
		{"requests for an upgrade", float64(len(upgrade)), 2*4 + 8, "requests", harness.Summary(upgrade)},
		{"CPU for an upgrade", upgradeCPU.Seconds() * 1000, 60, "ms", ""},
	}, nil
}

func helmReleaseUnchanged(ctx context.Context, w *world) ([]figure, error) {
	const n = 20
	p, err := w.withHelm(ctx)
	if err != nil {
		return nil, err
	}
	for i := range n {
		if err := w.createRelease(ctx, fmt.Sprintf("app%d", i), "1s", ""); err != nil {
			return nil, err
		}
	}
	if _, err := w.awaitReleased(ctx, n+1, 1); err != nil {
		return nil, err
	}
	before, err := p.Passes("HelmRelease", "app0")
	if err != nil {
		return nil, err
	}
	seen, cpu, err := w.helmCost(ctx, p, func() error { return rest(ctx, 30*time.Second) })
	if err != nil {
		return nil, err
	}
	after, err := p.Passes("HelmRelease", "app0")
	if err != nil {
		return nil, err
	}
	passes := max(1, (after-before)*n)
	return []figure{
		{"requests of all passes", float64(len(seen)), 0, "requests", fmt.Sprintf("%.0f passes; %s", passes, harness.Summary(seen))},
		{"CPU per pass", cpu.Seconds() * 1000 / passes, 1, "ms", ""},
	}, nil
}
