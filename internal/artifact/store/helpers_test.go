package store

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/artifact"
)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newClock() *clock {
	return &clock{now: time.Date(2026, 8, 1, 12, 0, 0, 5, time.UTC)}
}

func open(t testing.TB, opts Options) *Store {
	t.Helper()
	if opts.Root == "" {
		opts.Root = t.TempDir()
	}
	if opts.Advertised == "" {
		opts.Advertised = "store.test"
	}
	s, err := Open(opts)
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func repo(name, file string) Name {
	return Name{Kind: "gitrepository", Namespace: "apps", Name: name, File: file}
}

func content(text string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

func put(t testing.TB, s *Store, name Name, text string) artifact.Ref {
	t.Helper()
	ref, err := s.Put(t.Context(), name, "main@sha1:1", nil, content(text))
	must(t, err)
	return ref
}

// audit holds the invariants of a store: a blob is what its name says and has another name, every
// artifact is whole, and nothing is left aside.
func audit(t testing.TB, s *Store, valid func(text string) bool) {
	t.Helper()
	blobs, err := filepath.Glob(filepath.Join(s.opts.Root, privateDir, "blobs", "*", "*"))
	must(t, err)
	for _, blob := range blobs {
		data, err := os.ReadFile(blob)
		must(t, err)
		info, err := os.Stat(blob)
		must(t, err)
		a := artifact.Algorithm(filepath.Base(filepath.Dir(blob)))
		if got := artifact.DigestOf(a, data).Hex(); got != filepath.Base(blob) {
			t.Errorf("blob %s has the digest %s", filepath.Base(blob), got)
		}
		if links(info) < 2 {
			t.Errorf("blob %s has no name", filepath.Base(blob))
		}
	}
	files, err := filepath.Glob(filepath.Join(s.opts.Root, "*", "*", "*", "*"))
	must(t, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if info, lerr := os.Lstat(file); lerr == nil && info.Mode()&os.ModeSymlink != 0 && errors.Is(err, os.ErrNotExist) {
			continue // what a stable name leads to may be collected before the next one is set
		}
		must(t, err)
		if !valid(string(data)) {
			t.Errorf("artifact %s is %q", file, data)
		}
	}
	temps, err := filepath.Glob(filepath.Join(s.opts.Root, privateDir, "tmp", "*", "*"))
	must(t, err)
	if len(temps) > 0 {
		t.Errorf("left aside: %q", temps)
	}
}

func anything(string) bool { return true }
