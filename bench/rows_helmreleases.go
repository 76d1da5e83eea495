package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/test/harness"
)

// unbudgeted is the budget of what is only for reading.
const unbudgeted = -1

// phase is what a kind of work cost all releases together.
func phase(name string, n int, wall, cpu time.Duration, seen []harness.Request) []figure {
	each := float64(n)
	return []figure{
		{name + ", wall time", wall.Seconds(), unbudgeted, "s", ""},
		{"requests per " + name, float64(len(seen)) / each, 2*4 + 8, "requests", harness.Summary(seen)},
		{"CPU per " + name, cpu.Seconds() * 1000 / each, 60, "ms", ""},
	}
}

// helmReleasesMany installs and upgrades n releases at once and leaves them alone for an interval.
func helmReleasesMany(ctx context.Context, w *world, n int) ([]figure, error) {
	p, err := w.withHelm(ctx)
	if err != nil {
		return nil, err
	}
	stop := peak(p)
	each := func(f func(name string) error, await func() (time.Duration, error)) (wall, cpu time.Duration, seen []harness.Request, err error) {
		seen, cpu, err = w.helmCost(ctx, p, func() error {
			start := time.Now()
			for i := range n {
				if err := f(fmt.Sprintf("app%d", i)); err != nil {
					return err
				}
			}
			_, err := await()
			wall = time.Since(start)
			return err
		})
		return wall, cpu, seen, err
	}
	wall, cpu, seen, err := each(
		func(name string) error { return w.createRelease(ctx, name, "1m", "") },
		func() (time.Duration, error) { return w.awaitReleased(ctx, n+1, 1) })
	if err != nil {
		return nil, err
	}
	figures := phase("install", n, wall, cpu, seen)
	wall, cpu, seen, err = each(
		func(name string) error { return w.setValue(ctx, name, "second") },
		func() (time.Duration, error) { return w.awaitReleased(ctx, n, 2) })
	if err != nil {
		return nil, err
	}
	figures = append(figures, phase("upgrade", n, wall, cpu, seen)...)
	most := stop()
	seen, cpu, err = w.helmCost(ctx, p, func() error { return rest(ctx, time.Minute) })
	if err != nil {
		return nil, err
	}
	memory, err := p.AnonBytes()
	if err != nil {
		return nil, err
	}
	return append(figures,
		figure{"requests of an unchanged interval", float64(len(seen)), 0, "requests", harness.Summary(seen)},
		figure{"CPU per unchanged interval", cpu.Seconds() * 1000 / float64(n), 1, "ms", ""},
		figure{"memory at most", most, unbudgeted, "MiB", ""},
		figure{"memory a minute later", float64(memory) / (1 << 20), 120, "MiB", ""},
	), nil
}

// helmReleasesDrift changes an object of each release, one after the other, and waits until it is put back.
func helmReleasesDrift(ctx context.Context, w *world) ([]figure, error) {
	n := min(20, w.many)
	p, err := w.withHelm(ctx)
	if err != nil {
		return nil, err
	}
	for i := range n {
		if err := w.createRelease(ctx, fmt.Sprintf("app%d", i), "1h", "enabled"); err != nil {
			return nil, err
		}
	}
	if _, err := w.awaitReleased(ctx, n+1, 1); err != nil {
		return nil, err
	}
	var took []time.Duration
	seen, cpu, err := w.helmCost(ctx, p, func() error {
		for i := range n {
			d, err := w.editRelease(ctx, fmt.Sprintf("app%d-0", i))
			if err != nil {
				return err
			}
			took = append(took, d)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(took)
	return []figure{
		{"put back, median", took[len(took)/2].Seconds(), 1, "s", ""},
		{"put back, slowest", took[len(took)-1].Seconds(), unbudgeted, "s", ""},
		{"requests per drift", float64(len(seen)) / float64(n), unbudgeted, "requests", harness.Summary(seen)},
		{"CPU per drift", cpu.Seconds() * 1000 / float64(n), unbudgeted, "ms", ""},
	}, nil
}

// editRelease changes the ConfigMap of a release and tells how long it stays so.
func (w *world) editRelease(ctx context.Context, name string) (time.Duration, error) {
	maps, start := w.dyn.Resource(configMaps).Namespace(namespace), time.Now()
	if _, err := maps.Patch(ctx, name, "application/merge-patch+json", []byte(`{"data":{"key":"edited"}}`), metav1.PatchOptions{}); err != nil {
		return 0, err
	}
	err := w.watch(ctx, configMaps, func(o *unstructured.Unstructured) bool {
		value, _, _ := unstructured.NestedString(o.Object, "data", "key")
		return o.GetName() == name && value == "first"
	})
	return time.Since(start), err
}
