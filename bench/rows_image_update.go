package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/test/harness"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// imageWorld has a policy that has chosen 1.0.0, and what an automation needs.
func (w *world) imageWorld(ctx context.Context, files map[string]string) (automation *harness.Process, registry *tagServer, err error) {
	if registry, err = newTagServer(1); err != nil {
		return nil, nil, err
	}
	if _, err := w.commit(files); err != nil {
		return nil, nil, err
	}
	if _, err := w.addImage(ctx, "image-reflector-controller", "--storage-path="+w.dir+"/tags"); err != nil {
		return nil, nil, err
	}
	if automation, err = w.addImage(ctx, "image-automation-controller", "--concurrent=10"); err != nil {
		return nil, nil, err
	}
	if err := w.createSource(ctx, "1h"); err != nil {
		return nil, nil, err
	}
	if err := w.add(ctx, imageRepositories, "ImageRepository", "app", map[string]any{"image": registry.addr + "/app", "interval": "1h"}); err != nil {
		return nil, nil, err
	}
	if err := w.add(ctx, imagePolicies, "ImagePolicy", "app", map[string]any{
		"imageRepositoryRef": map[string]any{"name": "app"}, "policy": map[string]any{"semver": map[string]any{"range": "*"}},
	}); err != nil {
		return nil, nil, err
	}
	return automation, registry, w.awaitTag(ctx, 1, "1.0.0")
}

func (w *world) createUpdate(ctx context.Context, name, path, interval string) error {
	return w.add(ctx, imageUpdates, "ImageUpdateAutomation", name, map[string]any{
		"interval": interval, "sourceRef": map[string]any{"kind": "GitRepository", "name": "bench"}, "update": map[string]any{"path": path, "strategy": "Setters"},
		"git": map[string]any{"commit": map[string]any{"author": map[string]any{"name": "bot", "email": "bot@example.com"}}},
	})
}

// awaitUpdates waits until n automations have gone by a tag.
func (w *world) awaitUpdates(ctx context.Context, n int, tag string) error {
	done := map[string]bool{}
	return w.watch(ctx, imageUpdates, func(o *unstructured.Unstructured) bool {
		if got, _, _ := unstructured.NestedString(o.Object, "status", "observedPolicies", "app", "tag"); got == tag {
			done[o.GetName()] = true
		}
		return len(done) >= n
	})
}

const marked = "image: x:1 # {\"$imagepolicy\": \"" + namespace + ":app\"}\n"

func imageAutomation(ctx context.Context, w *world) ([]figure, error) {
	files := map[string]string{}
	for i := range 10_000 {
		text := noise(i, 2<<10)
		files[fmt.Sprintf("d%d/f%d.yaml", i/100, i)] = "# " + strings.ReplaceAll(text, "\n", " ") + "\na: b\n"
		if i%200 == 0 {
			files[fmt.Sprintf("d%d/f%d.yaml", i/100, i)] = marked
		}
	}
	p, registry, err := w.imageWorld(ctx, files)
	if err != nil {
		return nil, err
	}
	defer registry.server.Close()
	if err := w.watch(ctx, gitRepositories, func(o *unstructured.Unstructured) bool { return conditionStatus(o, "Ready") == "True" }); err != nil {
		return nil, err
	}
	w.git.ResetRequests() // what source-controller fetched is none of the automation's
	if err := w.createUpdate(ctx, "bench", "./", "5s"); err != nil {
		return nil, err
	}
	if err := w.awaitUpdates(ctx, 1, "1.0.0"); err != nil {
		return nil, err
	}
	first := float64(git.Sent(w.git.Requests())) / (1 << 20)
	if err := w.quiet(ctx, p.User); err != nil {
		return nil, err
	}
	// No-ops.
	w.git.ResetRequests()
	mark := *w.audit
	if _, err := mark.Since(); err != nil {
		return nil, err
	}
	before, _ := p.CPU()
	const wait = 20 * time.Second
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(wait):
	}
	after, _ := p.CPU()
	idle := w.git.Requests()
	reqs, err := mark.Since(p.User)
	if err != nil {
		return nil, err
	}
	runs := float64(wait / (5 * time.Second))
	figures := []figure{
		{"moved by the first run", first, -1, "MiB", ""},
		{"moved by a no-op", float64(git.Sent(idle)) / 1024 / runs, 4, "KiB", ""},
		{"API requests of a no-op", float64(len(reqs)) / runs, 0, "requests", harness.Summary(reqs)},
		{"CPU of a no-op", (after - before).Seconds() * 1000 / runs, -1, "ms", ""},
	}
	// One change: another tag, in 50 files.
	w.git.ResetRequests()
	before, start := after, time.Now()
	registry.tags.Store(2)
	if err := w.annotate(ctx, imageRepositories, "app"); err != nil {
		return nil, err
	}
	if err := w.awaitUpdates(ctx, 1, "1.0.1"); err != nil {
		return nil, err
	}
	took := time.Since(start)
	after, _ = p.CPU()
	memory, _ := p.AnonBytes()
	requests, pushed := w.git.Requests(), int64(0)
	for _, r := range requests {
		pushed += r.Received
	}
	return append(figures,
		figure{"moved by one change", float64(git.Sent(requests)) / 1024, 64, "KiB", ""},
		figure{"pushed by one change", float64(pushed) / 1024, 256, "KiB", "the trees of the 50 directories, whole"},
		figure{"CPU of one change", (after - before).Seconds() * 1000, -1, "ms", ""},
		figure{"scan to pushed commit", took.Seconds(), -1, "s", ""},
		figure{"memory", float64(memory) / (1 << 20), 120, "MiB", ""},
	), nil
}

func imagePushers(ctx context.Context, w *world) ([]figure, error) {
	const automations = 10
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	files := map[string]string{"human.txt": "0"}
	for i := range automations {
		files[fmt.Sprintf("app%d/a.yaml", i)] = marked
	}
	_, registry, err := w.imageWorld(ctx, files)
	if err != nil {
		return nil, err
	}
	defer registry.server.Close()
	for i := range automations {
		if err := w.createUpdate(ctx, fmt.Sprintf("auto%d", i), fmt.Sprintf("app%d", i), "1h"); err != nil {
			return nil, err
		}
	}
	rounds, people := 1, 0
	if err := w.awaitUpdates(ctx, automations, "1.0.0"); err != nil {
		return nil, err
	}
	for start := time.Now(); time.Since(start) < time.Minute; rounds++ {
		registry.tags.Store(int64(rounds + 1))
		if err := w.annotate(ctx, imageRepositories, "app"); err != nil {
			return nil, err
		}
		n, err := w.person(ctx, func(ctx context.Context) error {
			return w.awaitUpdates(ctx, automations, fmt.Sprintf("1.0.%d", rounds))
		})
		if people += n; err != nil {
			return nil, err
		}
	}
	commits, err := w.repo.Git(nil, "rev-list", "--count", "main")
	if err != nil {
		return nil, err
	}
	merges, err := w.repo.Git(nil, "rev-list", "--count", "--merges", "main")
	if err != nil {
		return nil, err
	}
	var total, merged int
	if _, err := fmt.Sscan(commits, &total); err != nil {
		return nil, err
	}
	if _, err := fmt.Sscan(merges, &merged); err != nil {
		return nil, err
	}
	made, want := total-1-people, automations*rounds
	return []figure{
		{"commits of automations", float64(made), -1, "commits", fmt.Sprintf("%d images, and %d commits of the person", rounds, people)},
		{"commits that were lost", float64(max(want-made, 0)), 0, "commits", ""},
		{"commits that were made twice", float64(max(made-want, 0)), 0, "commits", ""},
		{"merges", float64(merged), 0, "commits", ""},
	}, nil
}

// thinking is how long the person rests between two pushes.
const thinking = time.Second

// person commits to the tip of the branch and pushes if nobody was faster, as long as the work lasts.
func (w *world) person(ctx context.Context, work func(context.Context) error) (pushed int, err error) {
	done := make(chan error, 1)
	go func() { done <- work(ctx) }()
	for i := 0; ; i++ {
		select {
		case err := <-done:
			return pushed, err
		case <-time.After(thinking):
		}
		tip, err := w.repo.Resolve("refs/heads/main")
		if err != nil {
			return pushed, err
		}
		side := fmt.Sprintf("person%d", i)
		next, err := w.repo.Apply(git.Change{Branch: side, From: tip, Message: "Human", Files: map[string]string{"human.txt": fmt.Sprint(time.Now().UnixNano())}})
		if err != nil {
			return pushed, err
		}
		if _, err := w.repo.Git(nil, "update-ref", "refs/heads/main", next, tip); err == nil {
			pushed++
		}
		if err := w.repo.DeleteRef("refs/heads/" + side); err != nil {
			return pushed, err
		}
	}
}
