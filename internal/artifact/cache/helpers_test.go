package cache

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/testenv/sealed"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// pack makes an archive; a name that ends in * is executable.
func pack(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	w := tar.NewWriter(gz)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path, executable := strings.CutSuffix(name, "*")
		mode := int64(0o600)
		if executable {
			mode = 0o700
		}
		must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: mode, Size: int64(len(files[name]))}))
		_, err := io.WriteString(w, files[name])
		must(t, err)
	}
	must(t, w.Close())
	must(t, gz.Close())
	return out.Bytes()
}

// server is a Fetcher that counts, and can be made to wait or to fail.
type server struct {
	mu    sync.Mutex
	files map[artifact.Digest][]byte
	asked int
	// block is waited for, if it is set, after started has been told.
	block   chan struct{}
	started chan struct{}
	fail    error
}

func newServer() *server {
	return &server{files: map[artifact.Digest][]byte{}}
}

func (s *server) add(data []byte) artifact.Ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	ref := artifact.Ref{Digest: artifact.DigestOf(artifact.SHA256, data), Size: int64(len(data))}
	s.files[ref.Digest] = data
	return ref
}

func (s *server) Fetch(ctx context.Context, ref artifact.Ref, f *os.File) error {
	s.mu.Lock()
	s.asked++
	data, found, block, started, fail := s.files[ref.Digest], s.files[ref.Digest] != nil, s.block, s.started, s.fail
	s.mu.Unlock()
	if block != nil {
		started <- struct{}{}
		select {
		case <-block:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if fail != nil {
		return fail
	}
	if !found {
		return errors.New("not found")
	}
	_, err := f.Write(data)
	return err
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func open(t testing.TB, s *server, maxBytes int64) *Cache {
	t.Helper()
	return openIn(t, sealed.TempDir(t), s, maxBytes)
}

func openIn(t testing.TB, dir string, s *server, maxBytes int64) *Cache {
	t.Helper()
	c, err := Open(Options{Dir: filepath.Join(dir, "cache"), MaxBytes: maxBytes, Fetcher: s})
	must(t, err)
	t.Cleanup(func() {
		c.Close()              //nolint:errcheck // some tests have closed it
		removeTree(c.opts.Dir) //nolint:errcheck // read-only directories would stop the test's own clean-up
	})
	return c
}

func acquire(t testing.TB, c *Cache, ref artifact.Ref) *Tree {
	t.Helper()
	tree, err := c.Acquire(t.Context(), ref)
	must(t, err)
	return tree
}

// audit holds the invariants of a cache: everything published is whole and read-only, nothing is
// left aside, the sum is right, and the bound is kept while nobody holds a tree.
func audit(t testing.TB, c *Cache) {
	t.Helper()
	c.loading.Wait() // a load removes what it evicts after it has told its waiters
	c.mu.Lock()
	defer c.mu.Unlock()
	published, err := os.ReadDir(c.treesDir())
	must(t, err)
	if len(published) != len(c.entries) {
		t.Errorf("%d trees on disk, %d listed", len(published), len(c.entries))
	}
	var bytes int64
	for _, d := range published {
		dir := filepath.Join(c.treesDir(), d.Name())
		bytes += measure(dir)
		if _, err := verify(context.Background(), dir); err != nil {
			t.Errorf("%s: %v", d.Name(), err)
		}
		must(t, filepath.WalkDir(treeDir(dir), func(name string, d fs.DirEntry, err error) error {
			if info, ierr := d.Info(); ierr != nil || info.Mode()&0o222 != 0 {
				t.Errorf("%s can be written: %v", name, info.Mode())
			}
			return err
		}))
	}
	if bytes != c.bytes {
		t.Errorf("%d bytes on disk, %d counted", bytes, c.bytes)
	}
	if left, err := os.ReadDir(c.tempDir()); err != nil || len(left) > 0 {
		t.Errorf("left aside: %v, %v", left, err)
	}
}
