package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/artifact"
)

func TestPut(t *testing.T) {
	t.Parallel()
	now := newClock()
	s := open(t, Options{Now: now.time})
	metadata := map[string]string{"k": "v"}
	ref, err := s.Put(t.Context(), repo("fleet", "1.tar.gz"), "main@sha1:1", metadata, content("one"))
	must(t, err)
	want := artifact.Ref{
		Path:           "gitrepository/apps/fleet/1.tar.gz",
		URL:            "http://store.test/gitrepository/apps/fleet/1.tar.gz",
		Revision:       "main@sha1:1",
		Digest:         artifact.DigestOf(artifact.SHA256, []byte("one")),
		Size:           3,
		LastUpdateTime: now.time().Truncate(time.Second),
		Metadata:       map[string]string{"k": "v"},
	}
	if fmt.Sprint(ref) != fmt.Sprint(want) {
		t.Errorf("got %+v\nwant %+v", ref, want)
	}
	for path, mode := range map[string]os.FileMode{"gitrepository/apps/fleet": 0o700, ref.Path: 0o600} {
		if info, err := os.Stat(filepath.Join(s.opts.Root, path)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want mode %v", path, info.Mode(), err, mode)
		}
	}
	audit(t, s, anything)
}

func TestAdvertisedAddress(t *testing.T) {
	t.Parallel()
	for advertised, want := range map[string]string{
		"source-controller.flux-system.svc.cluster.local.": "http://source-controller.flux-system.svc.cluster.local./ocirepository/a/b/sha256:0.tar.gz",
		"127.0.0.1:9090":               "http://127.0.0.1:9090/ocirepository/a/b/sha256:0.tar.gz",
		"https://artifacts.test/base/": "https://artifacts.test/base/ocirepository/a/b/sha256:0.tar.gz",
		"https://artifacts.test":       "https://artifacts.test/ocirepository/a/b/sha256:0.tar.gz",
	} {
		s := open(t, Options{Advertised: advertised})
		if got := s.URL("ocirepository/a/b/sha256:0.tar.gz"); got != want {
			t.Errorf("%s: got %s, want %s", advertised, got, want)
		}
		if got := s.URL("helmchart/a/b/demo-1.0.0+591cf67c8668.tgz"); !strings.HasSuffix(got, "/demo-1.0.0+591cf67c8668.tgz") {
			t.Errorf("got %s, a plus stays", got)
		}
	}
}

func TestAlgorithms(t *testing.T) {
	t.Parallel()
	for _, a := range artifact.Algorithms() {
		s := open(t, Options{Algorithm: a})
		ref := put(t, s, repo("fleet", "1.tar.gz"), "one")
		if ref.Digest != artifact.DigestOf(a, []byte("one")) {
			t.Errorf("%s: got %s", a, ref.Digest)
		}
		// the flag changes; what is stored stays valid
		other := open(t, Options{Root: s.opts.Root})
		if _, err := other.Check(t.Context(), ref); err != nil {
			t.Errorf("%s: %v", a, err)
		}
		audit(t, other, anything)
	}
	if _, err := Open(Options{Root: t.TempDir(), Algorithm: "md5"}); !errors.Is(err, artifact.ErrUnknownAlgorithm) {
		t.Errorf("md5: got %v", err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	for _, path := range []string{
		"", "a/b/c", "a/b/c/d/e", "../b/c/d", "a/../c/d", "a/b/./d", "a/b/c/..", "a/b/c/", "/a/b/c", ".store/b/c/d",
		"a/b/c/.hidden", "a/b/c/x.lock", "a/b/c/x\x00", `a/b/c/..\x`, "a/b/c/" + strings.Repeat("x", 300),
	} {
		if _, err := parsePath(path); !errors.Is(err, ErrName) {
			t.Errorf("ParsePath(%q): got %v", path, err)
		}
		if _, err := s.OpenFile(path); !errors.Is(err, ErrMissing) {
			t.Errorf("OpenFile(%q): got %v", path, err)
		}
		if _, err := s.Check(t.Context(), artifact.Ref{Path: path, Digest: artifact.DigestOf(artifact.SHA256, nil)}); !errors.Is(err, ErrName) {
			t.Errorf("Check(%q): got %v", path, err)
		}
	}
	if _, err := s.Put(t.Context(), Name{"gitrepository", "..", "x", "y"}, "", nil, content("")); !errors.Is(err, ErrName) {
		t.Errorf("Put: got %v", err)
	}
	if _, err := s.Delete(t.Context(), "gitrepository", "a", ".."); !errors.Is(err, ErrName) {
		t.Errorf("Delete: got %v", err)
	}
}

func TestSeveralNamesShareOneBlob(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	a := put(t, s, repo("a", "1.tar.gz"), "same")
	b := put(t, s, repo("b", "1.tar.gz"), "same")
	fileA, err := os.Stat(s.file(a.Path))
	must(t, err)
	if !sameFile(fileA, s.file(b.Path)) {
		t.Error("equal content is stored twice")
	}
	if n, err := s.Delete(t.Context(), "gitrepository", "apps", "a"); n != 1 || err != nil {
		t.Errorf("Delete: %d, %v", n, err)
	}
	if _, err := s.Check(t.Context(), a); !errors.Is(err, ErrMissing) {
		t.Errorf("deleted: %v", err)
	}
	if _, err := s.Check(t.Context(), b); err != nil {
		t.Errorf("the other name: %v", err)
	}
	_, err = s.Delete(t.Context(), "gitrepository", "apps", "b")
	must(t, err)
	if blobs, _ := filepath.Glob(filepath.Join(s.opts.Root, privateDir, "blobs/*/*")); len(blobs) > 0 {
		t.Errorf("blobs without a name: %q", blobs)
	}
	if left, _ := filepath.Glob(filepath.Join(s.opts.Root, "[^.]*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestReplaceUnderTheSameName(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	old := put(t, s, repo("a", "1.tar.gz"), "old")
	served, err := s.OpenFile(old.Path)
	must(t, err)
	ref := put(t, s, repo("a", "1.tar.gz"), "new")
	if data, _ := io.ReadAll(served); string(data) != "old" {
		t.Errorf("who was reading gets %q", data)
	}
	must(t, served.Close())
	if _, err := s.Check(t.Context(), ref); err != nil {
		t.Error(err)
	}
	audit(t, s, func(text string) bool { return text == "new" })
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason string
		damage func(file string) error
		reopen bool
		want   func(error) bool
	}{
		{"whole", func(string) error { return nil }, false, func(err error) bool { return err == nil }},
		{"whole after a restart", func(string) error { return nil }, true, func(err error) bool { return err == nil }},
		{"removed", os.Remove, false, func(err error) bool { return errors.Is(err, ErrMissing) }},
		{"cut short", func(f string) error { return os.Truncate(f, 1) }, false, isIntegrity},
		{"other bytes, found after a restart", overwrite, true, isIntegrity},
		{"other bytes, found at once", overwrite, false, isIntegrity},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			s := open(t, Options{})
			ref := put(t, s, repo("a", "1.tar.gz"), "content")
			must(t, tt.damage(s.file(ref.Path)))
			if tt.reopen {
				s = open(t, Options{Root: s.opts.Root, Advertised: "elsewhere:80"})
			}
			got, err := s.Check(t.Context(), ref)
			if !tt.want(err) {
				t.Fatalf("got %v", err)
			}
			if err == nil && got.URL != s.URL(ref.Path) {
				t.Errorf("URL is %s", got.URL)
			}
			if isIntegrity(err) {
				if _, err := s.Check(t.Context(), ref); !errors.Is(err, ErrMissing) {
					t.Errorf("the broken file is still there: %v", err)
				}
				put(t, s, repo("a", "1.tar.gz"), "content")
				_, err := s.Check(t.Context(), ref)
				must(t, err)
			}
			audit(t, s, func(text string) bool { return text == "content" })
		})
	}
}

func overwrite(file string) error {
	return os.WriteFile(file, []byte("CONTENT"), 0o600)
}

func isIntegrity(err error) bool {
	var e *IntegrityError
	return errors.As(err, &e)
}

// TestBrokenBlobIsNotShared stores content whose blob has been damaged unseen.
func TestBrokenBlobIsNotShared(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	put(t, s, repo("a", "1.tar.gz"), "content")
	must(t, overwrite(s.file("gitrepository/apps/a/1.tar.gz")))
	s = open(t, Options{Root: s.opts.Root})
	ref := put(t, s, repo("b", "1.tar.gz"), "content")
	if data, _ := os.ReadFile(s.file(ref.Path)); string(data) != "content" {
		t.Errorf("got %q", data)
	}
}

// TestAdopt takes over a directory that upstream has written.
func TestAdopt(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir := filepath.Join(root, "gitrepository/apps/a")
	must(t, os.MkdirAll(dir, 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "1.tar.gz"), []byte("theirs"), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "1.tar.gz.lock"), nil, 0o644))
	s := open(t, Options{Root: root})
	ref := artifact.Ref{Path: "gitrepository/apps/a/1.tar.gz", Digest: artifact.DigestOf(artifact.SHA256, []byte("theirs"))}
	got, err := s.Check(t.Context(), ref)
	if err != nil || got.Size != 6 {
		t.Errorf("%+v, %v", got, err)
	}
	next := put(t, s, repo("a", "2.tar.gz"), "ours")
	must(t, os.Chtimes(s.file(ref.Path), time.Time{}, time.Now().Add(-time.Hour)))
	s.opts.RetentionRecords = 1
	removed, err := s.Collect(t.Context(), next)
	if err != nil || !slices.Equal(removed, []string{ref.Path}) {
		t.Errorf("collected %q, %v", removed, err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("%d files are left, the lock file should go with its artifact", len(left))
	}
}

func TestLink(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	for _, text := range []string{"one", "two", "two"} {
		ref := put(t, s, repo("a", text+".tar.gz"), text)
		url, err := s.Link(ref, "latest.tar.gz")
		if err != nil || url != "http://store.test/gitrepository/apps/a/latest.tar.gz" {
			t.Errorf("%s, %v", url, err)
		}
		f, err := s.OpenFile("gitrepository/apps/a/latest.tar.gz")
		must(t, err)
		data, _ := io.ReadAll(f)
		if must(t, f.Close()); string(data) != text || f.Digest != ref.Digest {
			t.Errorf("latest is %q with digest %s", data, f.Digest)
		}
		if target, _ := os.Readlink(s.file("gitrepository/apps/a/latest.tar.gz")); target != s.file(ref.Path) {
			t.Errorf("link leads to %s, the tables want an absolute path", target)
		}
	}
	must(t, os.Symlink("/etc/passwd", s.file("gitrepository/apps/a/evil.tar.gz")))
	if _, err := s.OpenFile("gitrepository/apps/a/evil.tar.gz"); !errors.Is(err, ErrMissing) {
		t.Errorf("a link out of the directory: %v", err)
	}
	audit(t, s, anything)
}

func TestList(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	put(t, s, repo("a", "1.tar.gz"), "1")
	must(t, os.WriteFile(s.file("gitrepository/apps/a/1.tar.gz.lock"), nil, 0o600))
	for dir, want := range map[string]string{
		".": "[gitrepository/]", "gitrepository": "[apps/]", "gitrepository/apps/a": "[1.tar.gz]",
	} {
		if got, _, err := s.List(dir); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, %v", dir, got, err)
		}
	}
	for _, dir := range []string{"..", ".store", ".store/blobs", "absent", "gitrepository/apps/a/1.tar.gz", "a/b/c/d"} {
		if _, _, err := s.List(dir); !errors.Is(err, ErrMissing) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestFailedWriteChangesNothing(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	ref := put(t, s, repo("a", "1.tar.gz"), "old")
	broken := errors.New("source broke")
	_, err := s.Put(t.Context(), repo("a", "1.tar.gz"), "", nil, func(w io.Writer) error {
		_, _ = io.WriteString(w, "half")
		return broken
	})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), ref.Path) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, repo("a", "1.tar.gz"), "", nil, content("new")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	audit(t, s, func(text string) bool { return text == "old" })
}

func TestFullVolumeIsSaidClearly(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	s.fail = func(step string) error {
		if step == "content written" {
			return &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
		}
		return nil
	}
	_, err := s.Put(t.Context(), repo("a", "1.tar.gz"), "", nil, content("new"))
	if !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "gitrepository/apps/a/1.tar.gz") || !strings.Contains(err.Error(), "enlarge the volume") {
		t.Errorf("got %v", err)
	}
	audit(t, s, anything)
}

func TestWithoutHardLinks(t *testing.T) {
	t.Parallel()
	s := open(t, Options{})
	s.temp.noLinks = true
	ref := put(t, s, repo("a", "1.tar.gz"), "one")
	put(t, s, repo("b", "1.tar.gz"), "one")
	ref2 := put(t, s, repo("a", "1.tar.gz"), "two")
	if _, err := s.Check(t.Context(), ref2); err != nil || ref.Digest == ref2.Digest {
		t.Error(err)
	}
	audit(t, s, anything)
	if f, err := s.OpenFile(ref2.Path); err != nil || f.Digest != ref2.Digest || f.Close() != nil {
		t.Errorf("%v, %v", f, err)
	}
}
