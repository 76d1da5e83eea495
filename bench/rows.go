package main

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/test/harness"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// rows are the lines of DESIGN section 7 for what exists.
var rows = []row{
	{"first install", "37 + 10 requests; 160 ms CPU; 500 at once 96 s", "≤ 2 per object + 6, ≤ 5 for the source; ≤ 40 ms CPU; 500 at once ≤ 25 s", firstInstall},
	{"new revision changing 1 of 4 objects", "33 requests, and 7 for its source; 165 ms CPU", "1 dry-run + 1 apply + 2 status patches + 2 events, ≤ 3 for the source; ≤ 25 ms CPU", newRevision},
	{"new revision changing 0 of 4 objects", "30 requests", "a status patch and an event, ≤ 3 for the source", sameObjects},
	{"many at once", "first install 96 s, new revision 100 s (500)", "first install ≤ 25 s, new revision ≤ 20 s (500)", manyAtOnce},
	{"a commit in a monorepo with 100 Kustomizations, 1 concerned", "100 downloads, unpacks, builds, 3,300 requests", "1 download, 1 unpack, 1 build; the other 99 one status patch and event each", monorepo},
	{"dependsOn chain of 10", "275 s", "≤ 5 s", chain},
	{"GitRepository poll, nothing new", "6 API writes; 60 ms CPU", "1 ref listing, 0 objects, 0 API writes", poll},
	{"GitRepository, one changed file of 10,000, 100 MB", "57 MB moved, 15 s, 12 s CPU, 180 MB above idle", "kilobytes moved, ≤ 1 s CPU, ≤ 64 MiB above idle", oneOfTenThousand},
	{"restart and memory with twice -n unchanged Kustomizations", "all of it again; 255 MB (500)", "the first lists and watches; ≤ 120 MiB (1,000)", restart},
	{"idle memory", "66 to 76 MB a process", "≤ 40 MiB a process", idleMemory},
}

// usage is what the two controllers spent between two looks.
type usage struct {
	source, kustomize       []harness.Request
	sourceCPU, kustomizeCPU time.Duration
}

// spend runs the work and returns what it cost, after the controllers have come to rest.
func (w *world) spend(ctx context.Context, work func() error) (usage, error) {
	var u usage
	if err := w.settle(ctx); err != nil {
		return u, err
	}
	if _, err := w.audit.Since(); err != nil {
		return u, err
	}
	mark := *w.audit
	s0, err := w.source.CPU()
	if err != nil {
		return u, err
	}
	k0, err := w.kustomize.CPU()
	if err != nil {
		return u, err
	}
	if err := work(); err != nil {
		return u, err
	}
	if err := w.settle(ctx); err != nil {
		return u, err
	}
	s1, _ := w.source.CPU()
	k1, _ := w.kustomize.CPU()
	u.sourceCPU, u.kustomizeCPU = s1-s0, k1-k0
	sourceMark := mark
	if u.source, err = sourceMark.Since(w.source.User); err != nil {
		return u, err
	}
	u.kustomize, err = mark.Since(w.kustomize.User)
	return u, err
}

func (u usage) figures(kustomize, source float64, cpu time.Duration) []figure {
	return []figure{
		{"requests of kustomize-controller", float64(len(u.kustomize)), kustomize, "requests", harness.Summary(u.kustomize)},
		{"requests of source-controller", float64(len(u.source)), source, "requests", harness.Summary(u.source)},
		{"CPU of kustomize-controller", u.kustomizeCPU.Seconds() * 1000, cpu.Seconds() * 1000, "ms", ""},
	}
}

// warm runs one application through first, so that first lists, discovery and watches are not
// charged to the row.
func (w *world) warm(ctx context.Context) error {
	rev, err := w.commit(app("warm", ""))
	if err != nil {
		return err
	}
	if err := w.createSource(ctx, "1h"); err != nil {
		return err
	}
	if err := w.createApp(ctx, "warm", "warm", "1h"); err != nil {
		return err
	}
	_, err = w.awaitApplied(ctx, 1, rev)
	return err
}

func firstInstall(ctx context.Context, w *world) ([]figure, error) {
	if err := w.warm(ctx); err != nil {
		return nil, err
	}
	files := app("first", "")
	rev, err := w.commit(files)
	if err != nil {
		return nil, err
	}
	if err := w.sync(ctx); err != nil {
		return nil, err
	}
	if _, err := w.awaitApplied(ctx, 1, rev); err != nil {
		return nil, err
	}
	u, err := w.spend(ctx, func() error {
		if err := w.createApp(ctx, "first", "first", "1h"); err != nil {
			return err
		}
		_, err := w.awaitApplied(ctx, 2, rev)
		return err
	})
	if err != nil {
		return nil, err
	}
	figures := u.figures(2*4+6, 0, 40*time.Millisecond)
	src, err := w.spend(ctx, func() error {
		o := object(fluxURL+"/v1", "GitRepository", "second", map[string]any{"interval": "1h", "url": w.git.HTTPURL("bench"), "ref": map[string]any{"branch": "main"}})
		return w.createAndAwaitReady(ctx, o)
	})
	if err != nil {
		return nil, err
	}
	return append(figures, figure{"requests for a new source", float64(len(src.source)), 5, "requests", harness.Summary(src.source)}), nil
}

func (w *world) revision(ctx context.Context, n int, change map[string]string) (usage, time.Duration, error) {
	var took time.Duration
	u, err := w.spend(ctx, func() error {
		rev, err := w.commit(change)
		if err != nil {
			return err
		}
		if err := w.sync(ctx); err != nil {
			return err
		}
		took, err = w.awaitApplied(ctx, n, rev)
		return err
	})
	return u, took, err
}

func newRevision(ctx context.Context, w *world) ([]figure, error) {
	if err := w.warm(ctx); err != nil {
		return nil, err
	}
	u, _, err := w.revisions(ctx, 1, func(commit string) map[string]string { return app("warm", commit) })
	return u.figures(6, 3, 25*time.Millisecond), err
}

func sameObjects(ctx context.Context, w *world) ([]figure, error) {
	if err := w.warm(ctx); err != nil {
		return nil, err
	}
	u, _, err := w.revisions(ctx, 1, func(commit string) map[string]string { return map[string]string{"README.md": commit} })
	return u.figures(2, 3, 25*time.Millisecond), err
}

// revisions makes five commits, one after the other, of which n Kustomizations learn. The requests are those of the
// dearest, CPU and time the mean.
func (w *world) revisions(ctx context.Context, n int, change func(commit string) map[string]string) (dearest usage, took time.Duration, err error) {
	const commits = 5
	var cpu time.Duration
	for i := range commits {
		u, t, err := w.revision(ctx, n, change(fmt.Sprint("commit ", i)))
		if err != nil {
			return u, t, err
		}
		cpu, took = cpu+u.kustomizeCPU, took+t
		if len(u.kustomize) >= len(dearest.kustomize) {
			dearest = u
		}
	}
	dearest.kustomizeCPU = cpu / commits
	return dearest, took / commits, nil
}

func (w *world) fleet(n int) map[string]string {
	files := map[string]string{}
	for i := range n {
		maps.Copy(files, app(fmt.Sprintf("app%d", i), ""))
	}
	return files
}

func (w *world) installFleet(ctx context.Context, n int) (time.Duration, error) {
	rev, err := w.commit(w.fleet(n))
	if err != nil {
		return 0, err
	}
	if err := w.createSource(ctx, "1h"); err != nil {
		return 0, err
	}
	for i := range n {
		name := fmt.Sprintf("app%d", i)
		if err := w.createApp(ctx, name, name, "1h"); err != nil {
			return 0, err
		}
	}
	return w.awaitApplied(ctx, n, rev)
}

func manyAtOnce(ctx context.Context, w *world) ([]figure, error) {
	install, err := w.installFleet(ctx, w.many)
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for i := range w.many {
		name := fmt.Sprintf("app%d", i)
		files[name+"/cm0.yaml"] = app(name, "second")[name+"/cm0.yaml"]
	}
	u, revision, err := w.revision(ctx, w.many, files)
	if err != nil {
		return nil, err
	}
	scale := float64(w.many) / 500
	return []figure{
		{fmt.Sprintf("first install of %d", w.many), install.Seconds(), 25 * scale, "s", ""},
		{fmt.Sprintf("new revision of %d", w.many), revision.Seconds(), 20 * scale, "s", ""},
		{"requests per Kustomization", float64(len(u.kustomize)) / float64(w.many), 6, "requests", harness.Summary(u.kustomize)},
		{"CPU per Kustomization", u.kustomizeCPU.Seconds() * 1000 / float64(w.many), 25, "ms", ""},
	}, nil
}

func monorepo(ctx context.Context, w *world) ([]figure, error) {
	const n = 100
	if _, err := w.installFleet(ctx, n); err != nil {
		return nil, err
	}
	const file = "app7/cm0.yaml"
	u, took, err := w.revisions(ctx, n, func(commit string) map[string]string { return map[string]string{file: app("app7", commit)[file]} })
	if err != nil {
		return nil, err
	}
	return append(u.figures(6+2*(n-1), 3, 25*time.Millisecond+(n-1)*2*time.Millisecond),
		figure{"until all have it", took.Seconds(), -1, "s", ""}), nil
}

func chain(ctx context.Context, w *world) ([]figure, error) {
	const n = 10
	if err := w.warm(ctx); err != nil {
		return nil, err
	}
	rev, err := w.commit(w.fleet(n))
	if err != nil {
		return nil, err
	}
	if err := w.sync(ctx); err != nil {
		return nil, err
	}
	for i := n - 1; i >= 0; i-- {
		var deps []string
		if i > 0 {
			deps = []string{fmt.Sprintf("app%d", i-1)}
		}
		name := fmt.Sprintf("app%d", i)
		if err := w.createApp(ctx, name, name, "1h", deps...); err != nil {
			return nil, err
		}
	}
	took, err := w.awaitApplied(ctx, n+1, rev)
	return []figure{{"chain of 10", took.Seconds(), 5, "s", ""}}, err
}

func poll(ctx context.Context, w *world) ([]figure, error) {
	if _, err := w.commit(app("warm", "")); err != nil {
		return nil, err
	}
	o := object(fluxURL+"/v1", "GitRepository", "poll", map[string]any{"interval": "2s", "url": w.git.HTTPURL("bench"), "ref": map[string]any{"branch": "main"}})
	if err := w.createAndAwaitReady(ctx, o); err != nil {
		return nil, err
	}
	w.git.ResetRequests()
	p, err := w.polls(ctx, "GitRepository", "poll")
	if err != nil {
		return nil, err
	}
	reqs := w.git.Requests()
	return append(p.figures(),
		figure{"Git requests per poll", float64(len(reqs)) / p.polls, 1, "requests", ""},
		figure{"bytes per poll", float64(git.Sent(reqs)) / p.polls, -1, "B", ""}), nil
}

func (w *world) createAndAwaitReady(ctx context.Context, o *unstructured.Unstructured) error {
	if err := w.create(ctx, o); err != nil {
		return err
	}
	return w.watch(ctx, gitRepositories, func(got *unstructured.Unstructured) bool {
		return got.GetName() == o.GetName() && conditionStatus(got, "Ready") == "True"
	})
}

func oneOfTenThousand(ctx context.Context, w *world) ([]figure, error) {
	if err := w.warm(ctx); err != nil {
		return nil, err
	}
	idle, err := w.idle(ctx)
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for i := range 10_000 {
		files[fmt.Sprintf("data/d%d/f%d.txt", i/100, i)] = noise(i, 10<<10)
	}
	if _, _, err := w.revision(ctx, 1, files); err != nil {
		return nil, err
	}
	w.git.ResetRequests()
	peak := make(chan int64, 1)
	stop := make(chan struct{})
	go func() { peak <- w.peak(stop) }()
	u, took, err := w.revision(ctx, 1, map[string]string{"data/d7/f700.txt": noise(-1, 10<<10)})
	close(stop)
	if err != nil {
		return nil, err
	}
	return []figure{
		{"moved", float64(git.Sent(w.git.Requests())) / 1024, 64, "KiB", ""},
		{"CPU of source-controller", u.sourceCPU.Seconds(), 1, "s", ""},
		{"memory above idle, at the peak", float64(<-peak-idle) / (1 << 20), 64, "MiB", ""},
		{"commit to applied", took.Seconds(), -1, "s", ""},
	}, nil
}

// noise is text that does not compress well and differs for each seed.
func noise(seed, size int) string {
	var b strings.Builder
	state := uint64(seed)*2862933555777941757 + 3037000493
	for b.Len() < size {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		fmt.Fprintf(&b, "%016x\n", state)
	}
	return b.String()[:size]
}

func (w *world) peak(stop <-chan struct{}) int64 {
	var top int64
	for {
		if now, err := w.source.AnonBytes(); err == nil {
			top = max(top, now)
		}
		select {
		case <-stop:
			return top
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func idleMemory(ctx context.Context, w *world) ([]figure, error) {
	select {
	case <-ctx.Done():
	case <-time.After(60 * time.Second):
	}
	var figures []figure
	for _, p := range []*harness.Process{w.source, w.kustomize} {
		bytes, err := p.AnonBytes()
		if err != nil {
			return nil, err
		}
		figures = append(figures, figure{p.Name, float64(bytes) / (1 << 20), 40, "MiB", ""})
	}
	return figures, nil
}
