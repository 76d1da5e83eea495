package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gitops-toolkit/flux/test/harness"
)

// Rows about size: many Kustomizations that all change, and one that is large.
func init() {
	rows = append(rows,
		row{"twice -n Kustomizations of 4 objects, new revision for all", "33 requests and 165 ms CPU each, 500 in 100 s; 255 MB (500)", "6 requests and ≤ 25 ms CPU each; 500 at once ≤ 20 s", revisionForAll},
		row{"one Kustomization of 5,000 objects, one changed", "two requests for each object", "≤ 8 requests", fiveThousand},
	)
}

// peak samples a process's own memory until stopped, and returns the highest figure.
func peak(p *harness.Process) (stop func() float64) {
	done, highest := make(chan struct{}), make(chan int64)
	go func() {
		most := int64(0)
		for tick := time.NewTicker(200 * time.Millisecond); ; {
			if now, err := p.AnonBytes(); err == nil {
				most = max(most, now)
			}
			select {
			case <-done:
				tick.Stop()
				highest <- most
				return
			case <-tick.C:
			}
		}
	}()
	return func() float64 {
		close(done)
		return float64(<-highest) / (1 << 20)
	}
}

func revisionForAll(ctx context.Context, w *world) ([]figure, error) {
	n := 2 * w.many
	install, err := w.installFleet(ctx, n)
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for i := range n {
		name := fmt.Sprintf("app%d", i)
		files[name+"/cm0.yaml"] = app(name, "second")[name+"/cm0.yaml"]
	}
	most := peak(w.kustomize)
	u, took, err := w.revision(ctx, n, files)
	memory := most()
	if err != nil {
		return nil, err
	}
	scale := float64(n) / 500
	return []figure{
		{fmt.Sprintf("first install of %d", n), install.Seconds(), 25 * scale, "s", ""},
		{fmt.Sprintf("new revision of %d", n), took.Seconds(), 20 * scale, "s", ""},
		{"requests per Kustomization", float64(len(u.kustomize)) / float64(n), 6, "requests", each(u.kustomize, n)},
		{"CPU seconds", u.kustomizeCPU.Seconds(), 0.025 * float64(n), "s", ""},
		{"peak memory", memory, -1, "MiB", ""},
	}, nil
}

// each says how many requests of each verb there were per Kustomization.
func each(reqs []harness.Request, n int) string {
	counts := map[string]int{}
	for _, r := range reqs {
		counts[r.String()]++
	}
	var parts []string
	for _, kind := range slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return counts[b] - counts[a] }) {
		parts = append(parts, fmt.Sprintf("%.2f %s", float64(counts[kind])/float64(n), kind))
	}
	return strings.Join(parts, ", ")
}

func fiveThousand(ctx context.Context, w *world) ([]figure, error) {
	const n = 5000
	rev, err := w.commit(manyMaps(0, n, "first"))
	if err != nil {
		return nil, err
	}
	if err := w.createSource(ctx, "1h"); err != nil {
		return nil, err
	}
	most := peak(w.kustomize)
	if err := w.createApp(ctx, "large", "large", "1h"); err != nil {
		return nil, err
	}
	install, err := w.awaitApplied(ctx, 1, rev)
	installed := most()
	if err != nil {
		return nil, err
	}
	most = peak(w.kustomize)
	one, took, err := w.revision(ctx, 1, manyMaps(777, 778, "second"))
	memory := most()
	if err != nil {
		return nil, err
	}
	return []figure{
		{"first install", install.Seconds(), -1, "s", fmt.Sprintf("peak memory %.0f MiB", installed)},
		{"one changed", float64(len(one.kustomize)), 8, "requests", harness.Summary(one.kustomize)},
		{"one changed, commit to applied", took.Seconds(), -1, "s", ""},
		{"CPU with one changed", one.kustomizeCPU.Seconds() * 1000, -1, "ms", ""},
		{"peak memory with one changed", memory, -1, "MiB", ""},
	}, nil
}
