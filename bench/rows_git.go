package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/test/harness"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// followers is how many GitRepositories share the repository.
const followers = 100

func followerName(i int) string { return fmt.Sprintf("follower-%d", i) }

// awaitFollowers waits until all have an artifact of the revision.
func (w *world) awaitFollowers(ctx context.Context, revision string) error {
	ready := map[string]bool{}
	return w.watch(ctx, gitRepositories, func(o *unstructured.Unstructured) bool {
		got, _, _ := unstructured.NestedString(o.Object, "status", "artifact", "revision")
		if got == revision && conditionStatus(o, "Ready") == "True" {
			ready[o.GetName()] = true
		}
		return len(ready) == followers
	})
}

// fetches counts the requests that moved more than a listing of refs does.
func fetches(requests []git.Request) (n int) {
	for _, r := range requests {
		if !r.Advertise && r.Sent > 1024 {
			n++
		}
	}
	return n
}

func hundredOfOne(ctx context.Context, w *world) ([]figure, error) {
	files := map[string]string{}
	for i := range 10_000 {
		files[fmt.Sprintf("data/d%d/f%d.txt", i/100, i)] = noise(i, 10<<10)
	}
	first, err := w.commit(files)
	if err != nil {
		return nil, err
	}
	idle, err := w.idle(ctx)
	if err != nil {
		return nil, err
	}
	w.git.ResetRequests()
	began := time.Now()
	install, err := w.watched(ctx, func() error {
		for i := range followers {
			o := object(fluxURL+"/v1", "GitRepository", followerName(i), map[string]any{
				"interval": "1h", "url": w.git.HTTPURL("bench"), "ref": map[string]any{"branch": "main"},
			})
			if err := w.create(ctx, o); err != nil {
				return err
			}
		}
		return w.awaitFollowers(ctx, first)
	})
	if err != nil {
		return nil, err
	}
	installed, cloned := time.Since(began), w.git.Requests()
	w.git.ResetRequests()
	began = time.Now()
	push, err := w.watched(ctx, func() error {
		second, err := w.commit(map[string]string{"data/d7/f700.txt": noise(-1, 10<<10)})
		if err != nil {
			return err
		}
		for i := range followers {
			if err := w.annotate(ctx, gitRepositories, followerName(i)); err != nil {
				return err
			}
		}
		return w.awaitFollowers(ctx, second)
	})
	if err != nil {
		return nil, err
	}
	pushed := time.Since(began)
	requests := w.git.Requests()
	const mib = 1 << 20
	above := func(bytes int64) float64 { return float64(bytes-idle) / mib }
	return []figure{
		{"first: fetches", float64(fetches(cloned)), 1, "fetches", fmt.Sprintf("%d requests", len(cloned))},
		{"first: moved", float64(git.Sent(cloned)) / mib, -1, "MiB", ""},
		{"first: CPU", install.cpu.Seconds(), -1, "s", fmt.Sprintf("%.0f s until all are ready", installed.Seconds())},
		{"first: memory above idle", above(install.peak), 180, "MiB", "what upstream needs for one"},
		{"push: fetches", float64(fetches(requests)), 1, "fetches", fmt.Sprintf("%d requests", len(requests))},
		{"push: moved", float64(git.Sent(requests)) / 1024, 256, "KiB", "listings of refs included"},
		{"push: CPU", push.cpu.Seconds(), 5, "s", fmt.Sprintf("%.1f s until all are ready", pushed.Seconds())},
		{"push: memory above idle", above(push.peak), 64, "MiB", ""},
		{"push: API requests for each", float64(len(push.source)) / followers, 3, "requests", harness.Summary(push.source)},
	}, nil
}

// deadHost has a thousand sources at a host that takes connections and says nothing.
func deadHost(ctx context.Context, w *world) ([]figure, error) {
	const dead, healthy, interval = 1000, 10, 5
	if _, err := w.commit(app("warm", "")); err != nil {
		return nil, err
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer silent.Close() //nolint:errcheck // ends the row
	for i := range healthy {
		o := object(fluxURL+"/v1", "GitRepository", fmt.Sprintf("healthy-%d", i), map[string]any{
			"interval": fmt.Sprintf("%ds", interval), "url": w.git.HTTPURL("bench"), "ref": map[string]any{"branch": "main"},
		})
		if err := w.createAndAwaitReady(ctx, o); err != nil {
			return nil, err
		}
	}
	for i := range dead {
		o := object(fluxURL+"/v1", "GitRepository", fmt.Sprintf("dead-%d", i), map[string]any{
			"interval": "1m", "timeout": "60s", "url": fmt.Sprintf("http://%s/repo-%d", silent.Addr(), i), "ref": map[string]any{"branch": "main"},
		})
		if err := w.create(ctx, o); err != nil {
			return nil, err
		}
	}
	passes := func() (list []float64, err error) {
		for i := range healthy {
			n, err := w.source.Passes("GitRepository", fmt.Sprintf("healthy-%d", i))
			if err != nil {
				return nil, err
			}
			list = append(list, n)
		}
		return list, nil
	}
	before, err := passes()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	if err := rest(ctx, 40*time.Second); err != nil {
		return nil, err
	}
	after, err := passes()
	if err != nil {
		return nil, err
	}
	took, worst := time.Since(began).Seconds(), 0.0
	for i := range healthy {
		worst = max(worst, took/max(after[i]-before[i], 0.1))
	}
	memory, err := w.source.AnonBytes()
	return []figure{
		{"longest mean interval of a healthy one", worst, interval * 1.3, "s", fmt.Sprintf("spec.interval is %d s", interval)},
		{"memory with a thousand hanging", float64(memory) / (1 << 20), -1, "MiB", ""},
	}, err
}
