package main

import (
	"context"
	"time"

	"github.com/gitops-toolkit/flux/test/harness"
)

// restart measures a fleet at rest and what kustomize-controller does when it comes back to it.
func restart(ctx context.Context, w *world) ([]figure, error) {
	n := 2 * w.many
	if _, err := w.installFleet(ctx, n); err != nil {
		return nil, err
	}
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	if err := pause(ctx, time.Minute); err != nil {
		return nil, err
	}
	memory, err := w.kustomize.AnonBytes()
	if err != nil {
		return nil, err
	}
	if _, err := w.audit.Since(); err != nil {
		return nil, err
	}
	mark := *w.audit
	w.kustomize.Stop()
	if err := w.kustomize.Start(ctx); err != nil {
		return nil, err
	}
	if err := w.settle(ctx); err != nil {
		return nil, err
	}
	reqs, err := mark.Since(w.kustomize.User)
	if err != nil {
		return nil, err
	}
	cpu, err := w.kustomize.CPU()
	if err != nil {
		return nil, err
	}
	writes := 0
	for _, r := range reqs {
		if r.Verb != "get" && r.Verb != "list" && r.Verb != "watch" {
			writes++
		}
	}
	return []figure{ // memory: 40 MiB when idle, 120 with a thousand
		{"memory of kustomize-controller", float64(memory) / (1 << 20), 40 + 80*float64(n)/1000, "MiB", ""},
		{"dry-runs and writes at restart", float64(writes), 0, "requests", ""},
		{"all requests at restart", float64(len(reqs)), -1, "requests", harness.Summary(reqs)},
		{"CPU of the restart", cpu.Seconds(), -1, "s", ""},
	}, nil
}

// pause waits, as the budgets for memory are meant a minute after the last event.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return ctx.Err()
}
