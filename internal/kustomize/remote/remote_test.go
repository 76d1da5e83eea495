package remote

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/internal/kustomize/build"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for ref, want := range map[string]location{
		"https://github.com/o/r":                             {repository: "https://github.com/o/r", dir: "."},
		"github.com/o/r/sub/dir?ref=v1":                      {repository: "https://github.com/o/r", dir: "sub/dir", ref: "v1"},
		"GitHub.com:o/r":                                     {repository: "https://github.com/o/r", dir: "."},
		"git::https://example.com/a/b/c.git//x?ref=main":     {repository: "https://example.com/a/b/c.git", dir: "x", ref: "main"},
		"https://example.com/a/b.git/x?version=2":            {repository: "https://example.com/a/b.git", dir: "x", ref: "2"},
		"https://example.com/a/b//../../x":                   {repository: "https://example.com/a/b", dir: "x"},
		"https://dev.azure.com/o/p/_git/r/x":                 {repository: "https://dev.azure.com/o/p/_git/r", dir: "x"},
		"https://example.com/a/b/c.yaml?x=1":                 {file: "https://example.com/a/b/c.yaml?x=1"},
		"https://raw.githubusercontent.com/o/r/main/f.yml":   {file: "https://raw.githubusercontent.com/o/r/main/f.yml"},
		"https://example.com/r.git/dir.yaml?ref=a&version=b": {repository: "https://example.com/r.git", dir: "dir.yaml", ref: "a"},
	} {
		got, err := parse(ref)
		if err != nil || got != want {
			t.Errorf("parse(%q) = %+v, %v; want %+v", ref, got, err, want)
		}
	}
	for _, ref := range []string{"ssh://git@example.com/r", "git@example.com:o/r", "file:///etc", "https://", "https://example.com", "ftp://example.com/a/b"} {
		if l, err := parse(ref); err == nil {
			t.Errorf("parse(%q) = %+v, want an error", ref, l)
		}
	}
	if _, err := parse("https://user:secret@example.com/a/b"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("a password: error = %v", err)
	}
}

func TestFetchRepository(t *testing.T) {
	t.Parallel()
	server, err := git.Start(git.Options{Root: t.TempDir(), HTTP: git.AnyPort, AnonymousRead: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	repo, err := server.Create("org/base.git", "trunk")
	if err != nil {
		t.Fatal(err)
	}
	const cm = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "
	first, err := repo.Commit(map[string]string{"base/kustomization.yaml": "resources: [../shared/cm.yaml]\n", "shared/cm.yaml": cm + "one}\n"}, "one")
	if err != nil {
		t.Fatal(err)
	}
	if err := repo.Tag("v1", first, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := repo.Commit(map[string]string{"shared/cm.yaml": cm + "two}\n"}, "two"); err != nil {
		t.Fatal(err)
	}
	f, err := New(t.TempDir(), AllowLocal())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	for query, want := range map[string]string{"": "two", "?ref=trunk": "two", "?ref=v1": "one", "?ref=" + first: "one"} {
		root := t.TempDir()
		content := "resources: ['" + server.HTTPURL("org/base.git") + "//base" + query + "']\n"
		if err := os.WriteFile(filepath.Join(root, "kustomization.yaml"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		s := f.Session()
		result, err := build.Build(t.Context(), build.Options{Root: root, Remote: s})
		if err != nil || len(result.Objects) != 1 || result.Objects[0].GetName() != want {
			t.Errorf("%q: %+v, %v; want %s", query, result, err, want)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(f.dir); len(left) > 0 {
		t.Errorf("copies are left: %v", left)
	}
	if _, _, err := f.Session().Fetch(t.Context(), server.HTTPURL("org/base.git")+"?ref=absent"); err == nil || !strings.Contains(err.Error(), "absent") {
		t.Errorf("error = %v, want the ref", err)
	}
}

func TestFetchFile(t *testing.T) {
	t.Parallel()
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/cm.yaml":
			asked++
			_, _ = w.Write([]byte("content"))
		case "/large.yaml":
			for range 17 {
				_, _ = w.Write(make([]byte, 1<<20))
			}
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	f, err := New(t.TempDir(), AllowLocal())
	if err != nil {
		t.Fatal(err)
	}
	s := f.Session()
	t.Cleanup(func() { _ = s.Close() })
	for range 2 {
		dir, name, err := s.Fetch(t.Context(), server.URL+"/cm.yaml?token=secret")
		if err != nil {
			t.Fatal(err)
		}
		if content, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(content) != "content" {
			t.Errorf("content %q, %v", content, err)
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times, want once a session", asked)
	}
	for name, want := range map[string]string{"large.yaml": "more than", "absent.yaml": "404"} {
		if _, _, err := s.Fetch(t.Context(), server.URL+"/"+name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error = %v, want %q", name, err, want)
		}
	}
}

func TestLocalAddressesAreRefused(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	redirect := "http://169.254.169.254/latest/meta-data.yaml"
	f, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{server.URL + "/cm.yaml", server.URL + "/org/repo", redirect, "http://[::1]:1/x.yaml", "http://0.0.0.0:1/x.yaml", "http://localhost:1/org/repo"} {
		if _, _, err := f.Session().Fetch(t.Context(), ref); err == nil || !strings.Contains(err.Error(), "not allowed") {
			t.Errorf("%s: error = %v", ref, err)
		}
	}
	if _, _, err := f.Session().Fetch(t.Context(), "ssh://git@example.com/r"); !errors.Is(err, ErrUnsupported) {
		t.Errorf("error = %v", err)
	}
}
