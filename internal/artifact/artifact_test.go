package artifact_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/cache"
	"github.com/gitops-toolkit/flux/internal/artifact/fetch"
	"github.com/gitops-toolkit/flux/internal/artifact/serve"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/testenv/sealed"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// source is a directory that is archived, stored and served.
type source struct {
	dir       string
	builder   *archive.Builder
	store     *store.Store
	downloads atomic.Int64
}

func newSource(t *testing.T) *source {
	t.Helper()
	s := &source{dir: t.TempDir()}
	members, err := archive.OpenMembers(t.TempDir(), 0)
	must(t, err)
	s.builder = archive.NewBuilder(archive.Options{Members: members})
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.downloads.Add(1)
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.store, err = store.Open(store.Options{Root: t.TempDir(), Advertised: server.URL})
	must(t, err)
	t.Cleanup(func() { must(t, s.store.Close()) })
	handler = serve.Handler(s.store)
	return s
}

// commit changes a file and stores the archive of the result.
func (s *source) commit(t *testing.T, revision, file, text string) artifact.Ref {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(s.dir, filepath.Dir(file)), 0o700))
	must(t, os.WriteFile(filepath.Join(s.dir, file), []byte(text), 0o600))
	tree, err := archive.OpenDir(s.dir)
	must(t, err)
	defer tree.Close() //nolint:errcheck // read only
	name := store.Name{Kind: "gitrepository", Namespace: "apps", Name: "monorepo", File: revision + ".tar.gz"}
	ref, err := s.store.Put(t.Context(), name, "main@sha1:"+revision, nil, func(w io.Writer) error {
		_, err := s.builder.Write(t.Context(), w, tree, archive.Ignore{SourceIgnore: true, Defaults: true})
		return err
	})
	must(t, err)
	return ref
}

// TestMonorepo is the way from a source to a hundred consumers, of whom a commit concerns one.
func TestMonorepo(t *testing.T) {
	t.Parallel()
	const consumers = 100
	src := newSource(t)
	for i := range consumers {
		must(t, os.MkdirAll(filepath.Join(src.dir, app(i)), 0o700))
		must(t, os.WriteFile(filepath.Join(src.dir, app(i), "deploy.yaml"), []byte(strings.Repeat(app(i), 100)), 0o600))
	}
	trees, err := cache.Open(cache.Options{Dir: filepath.Join(sealed.TempDir(t), "c"), Fetcher: fetch.New(fetch.Options{})})
	must(t, err)
	t.Cleanup(func() { must(t, trees.Close()) })

	read := func(ref artifact.Ref) []string {
		digests := make([]string, consumers)
		var wg sync.WaitGroup
		for i := range consumers {
			wg.Go(func() {
				tree, err := trees.Acquire(t.Context(), ref)
				if err != nil {
					t.Error(err)
					return
				}
				defer tree.Release()
				digests[i] = tree.Digest(app(i))
			})
		}
		wg.Wait()
		return digests
	}
	first := src.commit(t, "1", "README.md", "one")
	before := read(first)
	second := src.commit(t, "2", filepath.Join(app(42), "deploy.yaml"), "changed")
	after := read(second)
	for i := range consumers {
		if (before[i] != after[i]) != (i == 42) {
			t.Errorf("%s: concerned by the commit: %v", app(i), before[i] != after[i])
		}
	}
	if n := src.downloads.Load(); n != 2 {
		t.Errorf("%d downloads for 2 revisions and %d consumers", n, consumers)
	}

	// the same content under another revision is the same artifact
	third := src.commit(t, "3", "README.md", "one")
	if third.Digest != second.Digest {
		t.Error("equal trees give different digests")
	}
	read(third)
	if n := src.downloads.Load(); n != 2 {
		t.Errorf("%d downloads, the third revision has the content of the second", n)
	}
	removed, err := src.store.Delete(t.Context(), "gitrepository", "apps", "monorepo")
	if err != nil || removed != 3 {
		t.Errorf("%d removed, %v", removed, err)
	}
	gone := third
	gone.Digest = artifact.DigestOf(artifact.SHA256, nil)
	if _, err := trees.Acquire(t.Context(), gone); !errors.Is(err, fetch.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func app(i int) string {
	return fmt.Sprintf("apps/app-%03d", i)
}

func TestParseDigest(t *testing.T) {
	t.Parallel()
	for _, a := range artifact.Algorithms() {
		d := artifact.DigestOf(a, []byte("x"))
		if got, err := artifact.ParseDigest(d.String()); err != nil || got != d || got.Algorithm() != a {
			t.Errorf("%s: %s, %v", a, got, err)
		}
	}
	long := strings.Repeat("a", 64)
	for _, text := range []string{
		"", "sha256", "sha256:", ":" + long, "sha256:" + long[1:], "sha256:" + long + "a", "SHA256:" + long, "sha256:" + strings.ToUpper(long),
		"md5:" + long, "sha256:" + long[3:] + "/..", "sha256:" + long[1:] + "g", strings.Repeat("x", 10_000),
	} {
		if d, err := artifact.ParseDigest(text); err == nil || d != "" || len(err.Error()) > 400 {
			t.Errorf("ParseDigest(%.80q) = %q, %v", text, d, err)
		}
	}
	if a, err := artifact.ParseAlgorithm(""); a != artifact.SHA256 || err != nil {
		t.Errorf("default algorithm is %s, %v", a, err)
	}
}

// FuzzParseDigest makes sure that whatever passes is safe as a file name.
func FuzzParseDigest(f *testing.F) {
	f.Add("sha256:" + strings.Repeat("a", 64))
	f.Add("sha1:../../../../../../../../../../../../x")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := artifact.ParseDigest(text)
		if err == nil && (strings.Trim(d.Hex(), "0123456789abcdef") != "" || d.String() != text) {
			t.Errorf("%q passed", text)
		}
	})
}
