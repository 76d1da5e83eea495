package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/test/harness"
)

// Rows about what costs nothing while nothing happens, and about drift.
func init() {
	rows = append(rows,
		row{"unchanged Kustomization at its interval", "30 requests; 150 ms CPU", "0 requests, no download, no build; ≤ 1 ms CPU", unchangedInterval},
		row{"one Kustomization of 2,000 objects, none changed, one changed", "4,000 requests, 14 s", "0 requests; ≤ 8 requests, ≤ 3 s", twoThousand},
		row{"drift of one object", "at the next interval (102 s at 60 s)", "≤ 1 s (median), 1 dry-run + 1 apply + 1 event + 1 debounced status patch", driftOfOne},
	)
}

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// rest waits without work, as long as ctx allows.
func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func unchangedInterval(ctx context.Context, w *world) ([]figure, error) {
	const n = 20
	rev, err := w.commit(w.fleet(n))
	if err != nil {
		return nil, err
	}
	if err := w.createSource(ctx, "1h"); err != nil {
		return nil, err
	}
	for i := range n {
		name := fmt.Sprintf("app%d", i)
		if err := w.createApp(ctx, name, name, "1s"); err != nil {
			return nil, err
		}
	}
	if _, err := w.awaitApplied(ctx, n, rev); err != nil {
		return nil, err
	}
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	before, err := w.kustomize.Passes("Kustomization", "app0")
	if err != nil {
		return nil, err
	}
	u, err := w.spend(ctx, func() error { return rest(ctx, 30*time.Second) })
	if err != nil {
		return nil, err
	}
	after, err := w.kustomize.Passes("Kustomization", "app0")
	if err != nil {
		return nil, err
	}
	passes := (after - before) * n
	return []figure{
		{"requests of all passes", float64(len(u.kustomize)), 0, "requests", fmt.Sprintf("%.0f passes; %s", passes, harness.Summary(u.kustomize))},
		{"requests of source-controller", float64(len(u.source)), 0, "requests", harness.Summary(u.source)},
		{"CPU per pass", u.kustomizeCPU.Seconds() * 1000 / passes, 1, "ms", ""},
	}, nil
}

func manyMaps(n int, of int, value string) map[string]string {
	files := map[string]string{}
	for i := n; i < of; i++ {
		files[fmt.Sprintf("large/d%d/cm%d.yaml", i/100, i)] = fmt.Sprintf(
			"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: large-%d\ndata:\n  key: %q\n", i, value)
	}
	return files
}

func twoThousand(ctx context.Context, w *world) ([]figure, error) {
	const n = 2000
	rev, err := w.commit(manyMaps(0, n, "first"))
	if err != nil {
		return nil, err
	}
	if err := w.createSource(ctx, "1h"); err != nil {
		return nil, err
	}
	if err := w.createApp(ctx, "large", "large", "5s"); err != nil {
		return nil, err
	}
	install, err := w.awaitApplied(ctx, 1, rev)
	if err != nil {
		return nil, err
	}
	before, err := w.kustomize.Passes("Kustomization", "large")
	if err != nil {
		return nil, err
	}
	none, err := w.spend(ctx, func() error { return rest(ctx, 20*time.Second) })
	if err != nil {
		return nil, err
	}
	after, err := w.kustomize.Passes("Kustomization", "large")
	if err != nil {
		return nil, err
	}
	one, took, err := w.revision(ctx, 1, manyMaps(777, 778, "second"))
	if err != nil {
		return nil, err
	}
	return []figure{
		{"first install", install.Seconds(), -1, "s", ""},
		{"none changed", float64(len(none.kustomize)), 0, "requests", fmt.Sprintf("%.0f passes; %s", after-before, harness.Summary(none.kustomize))},
		{"CPU per pass with none changed", none.kustomizeCPU.Seconds() * 1000 / max(after-before, 1), -1, "ms", ""},
		{"one changed", float64(len(one.kustomize)), 8, "requests", harness.Summary(one.kustomize)},
		{"one changed, commit to applied", took.Seconds(), 3, "s", ""},
		{"CPU with one changed", one.kustomizeCPU.Seconds() * 1000, -1, "ms", ""},
	}, nil
}

func driftOfOne(ctx context.Context, w *world) ([]figure, error) {
	const n = 20
	if _, err := w.installFleet(ctx, n); err != nil {
		return nil, err
	}
	var times []time.Duration
	u, err := w.spend(ctx, func() error {
		for i := range n {
			took, err := w.correct(ctx, fmt.Sprintf("app%d-1", i))
			if err != nil {
				return err
			}
			times = append(times, took)
			if err := rest(ctx, 500*time.Millisecond); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(times)
	return []figure{
		{"edit to corrected, median", times[n/2].Seconds(), 1, "s", fmt.Sprintf("longest %.2f s", times[n-1].Seconds())},
		{"requests per correction", float64(len(u.kustomize)) / n, 4, "requests", harness.Summary(u.kustomize)},
		{"CPU per correction", u.kustomizeCPU.Seconds() * 1000 / n, -1, "ms", ""},
	}, nil
}

// correct edits a ConfigMap as somebody else and watches it come back.
func (w *world) correct(ctx context.Context, name string) (time.Duration, error) {
	res := w.dyn.Resource(configMaps).Namespace(namespace)
	begun := time.Now()
	edited, err := res.Patch(ctx, name, types.MergePatchType, []byte(`{"data":{"key":"drifted"}}`), metav1.PatchOptions{FieldManager: "somebody"})
	if err != nil {
		return 0, err
	}
	events, err := res.Watch(ctx, metav1.ListOptions{ResourceVersion: edited.GetResourceVersion(), FieldSelector: "metadata.name=" + name})
	if err != nil {
		return 0, err
	}
	defer events.Stop()
	for e := range events.ResultChan() {
		o, ok := e.Object.(*unstructured.Unstructured)
		if !ok {
			break
		}
		if value, _, _ := unstructured.NestedString(o.Object, "data", "key"); strings.EqualFold(value, "first") {
			return time.Since(begun), nil
		}
	}
	return 0, fmt.Errorf("%s was not put back; kustomize-controller said last:\n%s", name, w.kustomize.Tail(5))
}
