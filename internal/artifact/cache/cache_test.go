package cache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/unpack"
	"github.com/gitops-toolkit/flux/internal/testenv/sealed"
)

func TestHundredConsumers(t *testing.T) {
	t.Parallel()
	s := newServer()
	s.block, s.started = make(chan struct{}), make(chan struct{}, 200)
	ref := s.add(pack(t, map[string]string{"a/x.yaml": "x", "b.yaml": "b"}))
	c := open(t, s, 0)
	var unpacked int
	c.fail = func(step string) error {
		if step == "unpacked" {
			unpacked++ // a race here is a second unpack, which the race detector sees too
		}
		return nil
	}
	var wg sync.WaitGroup
	trees := make([]*Tree, 100)
	for i := range trees {
		wg.Go(func() {
			tree, err := c.Acquire(t.Context(), ref)
			if err != nil {
				t.Error(err)
				return
			}
			if data, err := os.ReadFile(filepath.Join(tree.Dir(), "a/x.yaml")); err != nil || string(data) != "x" {
				t.Errorf("%q, %v", data, err)
			}
			trees[i] = tree
		})
	}
	<-s.started
	close(s.block)
	wg.Wait()
	if s.count() != 1 || unpacked != 1 {
		t.Errorf("%d downloads and %d unpacks, want 1 and 1", s.count(), unpacked)
	}
	for _, tree := range trees {
		tree.Release()
		tree.Release() // twice does no harm
	}
	acquire(t, c, ref).Release()
	if s.count() != 1 {
		t.Error("downloaded again after it was released")
	}
	audit(t, c)
}

func TestDigests(t *testing.T) {
	t.Parallel()
	s := newServer()
	c := open(t, s, 0)
	base := map[string]string{
		"apps/a/x.yaml": "x", "apps/a/y.yaml": "y", "apps/a-b/z.yaml": "z", "apps/a.yaml": "a", "apps/b/sub/deep.yaml": "d", "run": "r",
	}
	changed := maps.Clone(base)
	changed["apps/a/x.yaml"] = "changed"
	added := maps.Clone(base)
	added["apps/b/sub/new.yaml"] = "n"
	renamed := maps.Clone(base)
	delete(renamed, "apps/a-b/z.yaml")
	renamed["apps/a-b/zz.yaml"] = "z"
	executable := maps.Clone(base)
	delete(executable, "run")
	executable["run*"] = "r"
	first := acquire(t, c, s.add(pack(t, base)))
	defer first.Release()
	paths := []string{".", "apps", "apps/a", "apps/a/x.yaml", "apps/a/y.yaml", "apps/a-b", "apps/a.yaml", "apps/b", "apps/b/sub", "run", "absent", "apps/b/sub/new.yaml"}
	for _, tt := range []struct {
		reason string
		files  map[string]string
		differ []string
	}{
		{"content", changed, []string{".", "apps", "apps/a", "apps/a/x.yaml"}},
		{"new file", added, []string{".", "apps", "apps/b", "apps/b/sub", "apps/b/sub/new.yaml"}},
		{"renamed file", renamed, []string{".", "apps", "apps/a-b"}},
		{"x bit", executable, []string{".", "run"}},
	} {
		tree := acquire(t, c, s.add(pack(t, tt.files)))
		var differ []string
		for _, p := range paths {
			if tree.Digest(p) != first.Digest(p) {
				differ = append(differ, p)
			}
		}
		if !slices.Equal(differ, tt.differ) {
			t.Errorf("%s: %q differ, want %q", tt.reason, differ, tt.differ)
		}
		tree.Release()
	}
	for name, want := range map[string]bool{
		"./apps/a/": true, "apps/../apps/a": true, "": true, "absent": false, "..": false, "../x": false, "/apps": false, "apps\x00": false, "apps/a/x.yaml/y": false,
	} {
		if got := first.Digest(name) != ""; got != want {
			t.Errorf("Digest(%q) found something: %v, want %v", name, got, want)
		}
	}
	if files := first.Files("apps"); !slices.Equal(files, []string{"apps/a/x.yaml", "apps/a/y.yaml", "apps/a-b/z.yaml", "apps/a.yaml", "apps/b/sub/deep.yaml"}) {
		t.Errorf("files are %q", files)
	}
	if !first.IsDir("apps/a") || first.IsDir("run") || first.IsDir("absent") || first.Files("absent") != nil || first.Files("run")[0] != "run" {
		t.Error("kinds of paths are wrong")
	}
}

func TestFailuresAreNotKept(t *testing.T) {
	t.Parallel()
	s := newServer()
	ref := s.add(pack(t, map[string]string{"a": "a"}))
	c := open(t, s, 0)
	s.fail = errors.New("host is down")
	if _, err := c.Acquire(t.Context(), ref); !errors.Is(err, s.fail) {
		t.Errorf("got %v", err)
	}
	audit(t, c)
	s.fail = nil
	acquire(t, c, ref).Release()

	hostile := s.add(pack(t, map[string]string{"../evil": "x"}))
	if _, err := c.Acquire(t.Context(), hostile); !errors.Is(err, unpack.ErrUnsafe) || !strings.Contains(err.Error(), "'../evil'") {
		t.Errorf("got %v", err)
	}
	if _, err := c.Acquire(t.Context(), artifact.Ref{Digest: "sha256:../../x"}); err == nil {
		t.Error("a digest that is none was taken")
	}
	c.fail = func(string) error { panic("library bug") }
	if _, err := c.Acquire(t.Context(), s.add(pack(t, map[string]string{"p": "p"}))); err == nil || !strings.Contains(err.Error(), "library bug") {
		t.Errorf("a panic became %v", err)
	}
}

func TestCancellation(t *testing.T) {
	t.Parallel()
	s := newServer()
	s.block, s.started = make(chan struct{}), make(chan struct{}, 10)
	ref := s.add(pack(t, map[string]string{"a": "a"}))
	c := open(t, s, 0)
	superseded := errors.New("a newer revision is there")
	type outcome struct {
		tree *Tree
		err  error
	}
	start := func(ctx context.Context) chan outcome {
		done := make(chan outcome, 1)
		go func() {
			tree, err := c.Acquire(ctx, ref)
			done <- outcome{tree, err}
		}()
		return done
	}
	ctx1, cancel1 := context.WithCancelCause(t.Context())
	ctx2, cancel2 := context.WithCancelCause(t.Context())
	first := start(ctx1)
	<-s.started
	second := start(ctx2)
	waitForHolders(c, ref, 2)
	cancel1(superseded)
	if o := <-first; !errors.Is(o.err, superseded) {
		t.Errorf("first: %v", o.err)
	}
	cancel2(superseded) // now nobody waits, and the download ends
	if o := <-second; !errors.Is(o.err, superseded) {
		t.Errorf("second: %v", o.err)
	}
	third := start(t.Context()) // whether the abandoned download has ended or not
	<-s.started
	close(s.block)
	o := <-third
	must(t, o.err)
	o.tree.Release()
	if n := s.count(); n != 2 {
		t.Errorf("%d downloads, want the abandoned one and another", n)
	}
	audit(t, c)
}

// waitForHolders returns when n callers have joined.
func waitForHolders(c *Cache, ref artifact.Ref, n int) {
	for {
		c.mu.Lock()
		e := c.entries[ref.Digest]
		enough := e != nil && e.holders >= n
		c.mu.Unlock()
		if enough {
			return
		}
		runtime.Gosched()
	}
}

func TestEviction(t *testing.T) {
	t.Parallel()
	s := newServer()
	var refs []artifact.Ref
	for i := range 4 {
		refs = append(refs, s.add(pack(t, map[string]string{"f": strings.Repeat(fmt.Sprint(i), 40_000)})))
	}
	c := open(t, s, 150_000) // room for two
	held := acquire(t, c, refs[0])
	acquire(t, c, refs[1]).Release()
	acquire(t, c, refs[2]).Release() // 1 goes: 0 is older but held
	acquire(t, c, refs[0]).Release()
	if s.count() != 3 {
		t.Errorf("%d downloads, want 3", s.count())
	}
	acquire(t, c, refs[3]).Release() // 2 goes
	acquire(t, c, refs[1]).Release() // again
	if s.count() != 5 {
		t.Errorf("%d downloads, want 5", s.count())
	}
	if data, err := os.ReadFile(filepath.Join(held.Dir(), "f")); err != nil || len(data) != 40_000 {
		t.Errorf("a tree in use was evicted: %v", err)
	}
	held.Release()
	audit(t, c)
	if c.bytes > c.opts.MaxBytes {
		t.Errorf("%d bytes, %d are allowed", c.bytes, c.opts.MaxBytes)
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	s := newServer()
	dir := sealed.TempDir(t)
	whole := s.add(pack(t, map[string]string{"a/b": "whole"}))
	damaged := s.add(pack(t, map[string]string{"a/b": "damaged"}))
	noIndex := s.add(pack(t, map[string]string{"a/b": "no index"}))
	c := openIn(t, dir, s, 0)
	digests := map[artifact.Digest]string{}
	for _, ref := range []artifact.Ref{whole, damaged, noIndex} {
		tree := acquire(t, c, ref)
		digests[ref.Digest] = tree.Digest(".")
		tree.Release()
	}
	if _, err := Open(c.opts); !errors.Is(err, ErrInUse) {
		t.Errorf("a second process: %v", err)
	}
	must(t, c.Close())
	file := filepath.Join(treeDir(c.dir(damaged.Digest)), "a/b")
	must(t, os.Chmod(file, 0o600))
	must(t, os.WriteFile(file, []byte("DAMAGED"), 0o600))
	must(t, os.Chmod(c.dir(noIndex.Digest), 0o700))
	must(t, os.Remove(filepath.Join(c.dir(noIndex.Digest), indexName)))
	must(t, os.MkdirAll(filepath.Join(c.treesDir(), "rubbish"), 0o700))
	must(t, os.MkdirAll(filepath.Join(c.tempDir(), "7", treeName), 0o700))

	c = openIn(t, dir, s, 0)
	for _, ref := range []artifact.Ref{whole, damaged, noIndex} {
		tree := acquire(t, c, ref)
		if tree.Digest(".") != digests[ref.Digest] {
			t.Errorf("%s has another digest after the restart", ref.Digest)
		}
		tree.Release()
	}
	if s.count() != 5 {
		t.Errorf("%d downloads, want 3 before and 2 after", s.count())
	}
	audit(t, c)
}

func TestIndexGoneWhileRunning(t *testing.T) {
	t.Parallel()
	s := newServer()
	ref := s.add(pack(t, map[string]string{"a": "a"}))
	c := open(t, s, 0)
	acquire(t, c, ref).Release()
	c.mu.Lock()
	c.entries[ref.Digest].index = weakNone()
	c.mu.Unlock()
	acquire(t, c, ref).Release() // from the file
	c.mu.Lock()
	c.entries[ref.Digest].index = weakNone()
	c.mu.Unlock()
	must(t, os.Remove(filepath.Join(c.dir(ref.Digest), indexName)))
	if _, err := c.Acquire(t.Context(), ref); err == nil {
		t.Error("a damaged tree was handed out")
	}
	acquire(t, c, ref).Release()
	if s.count() != 2 {
		t.Errorf("%d downloads, want 2", s.count())
	}
	audit(t, c)
}

func TestFullVolume(t *testing.T) {
	t.Parallel()
	s := newServer()
	idle := s.add(pack(t, map[string]string{"a": "idle"}))
	ref := s.add(pack(t, map[string]string{"a": "a"}))
	c := open(t, s, 0)
	acquire(t, c, idle).Release()
	full := &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	c.fail = func(string) error {
		if _, err := os.Stat(c.dir(idle.Digest)); err == nil {
			return full // until what is idle has made room
		}
		return nil
	}
	acquire(t, c, ref).Release()
	audit(t, c)
	c.fail = func(string) error { return full }
	if _, err := c.Acquire(t.Context(), idle); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "enlarge the volume") {
		t.Errorf("got %v", err)
	}
	audit(t, c)
}

func TestRandomUse(t *testing.T) {
	t.Parallel()
	s := newServer()
	var refs []artifact.Ref
	for i := range 6 {
		refs = append(refs, s.add(pack(t, map[string]string{"f": strings.Repeat(fmt.Sprint(i), 30_000)})))
	}
	c := open(t, s, 100_000)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 40 {
				n := (w*7 + i*3) % len(refs)
				ctx, cancel := context.WithCancel(t.Context())
				if i%5 == 0 {
					go cancel()
				}
				tree, err := c.Acquire(ctx, refs[n])
				if err == nil {
					data, rerr := os.ReadFile(filepath.Join(tree.Dir(), "f"))
					if rerr != nil || string(data) != strings.Repeat(fmt.Sprint(n), 30_000) {
						t.Errorf("%d bytes, %v", len(data), rerr)
					}
					tree.Release()
				} else if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	must(t, c.Close()) // waits for the downloads that nobody wants any more
	audit(t, c)
}

func FuzzIndex(f *testing.F) {
	f.Add(indexHeader + "\nd 00 \".\"\n00\n")
	f.Fuzz(func(_ *testing.T, text string) {
		if x, err := parseIndex(text); err == nil {
			x.find("a")
			x.below(".")
		}
		_, _ = parseNode(text)
	})
}
