package gitrepository_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// link commits submodules: paths to address and commit.
func (l *lab) link(repo *git.Repo, subs map[string][2]string) string {
	l.Helper()
	var modules, b strings.Builder
	tip, err := repo.Resolve("refs/heads/main")
	l.Must(err)
	for path, sub := range subs {
		fmt.Fprintf(&modules, "[submodule %q]\n\tpath = %s\n\turl = %s\n", path, path, sub[0])
	}
	fmt.Fprintf(&b, "commit refs/heads/main\ncommitter Test <test@example.com> 1700000000 +0000\ndata 4\nLink\nfrom %s\n", tip)
	fmt.Fprintf(&b, "M 100644 inline .gitmodules\ndata %d\n%s\n", modules.Len(), modules.String())
	for path, sub := range subs {
		fmt.Fprintf(&b, "M 160000 %s %s\n", sub[1], path)
	}
	_, err = repo.Git(strings.NewReader(b.String()+"\n"), "fast-import", "--quiet")
	l.Must(err)
	hash, err := repo.Resolve("main")
	l.Must(err)
	return hash
}

// TestSubmodules has one beside the repository, with one of its own, and one on another host, which must not see the
// credentials. A pinned commit that no ref reaches any more is found.
func TestSubmodules(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{Users: map[string]string{"jo": "s3cret"}})
	l.start()
	l.secret("git", nil, map[string]string{"username": "jo", "password": "s3cret"})
	away, err := git.Start(git.Options{Root: t.TempDir(), HTTP: git.AnyPort})
	l.Must(err)
	t.Cleanup(func() { _ = away.Close() })
	foreign, err := away.Create("foreign", "main")
	l.Must(err)
	hashF, err := foreign.Commit(map[string]string{"f.yaml": "f: 1\n"}, "Foreign")
	l.Must(err)
	inner, err := l.server.Create("inner", "main")
	l.Must(err)
	hashI, err := inner.Commit(map[string]string{"i.yaml": "i: 1\n"}, "Inner")
	l.Must(err)
	_, err = inner.Apply(git.Change{Branch: "main", Message: "Rewritten", Files: map[string]string{"i.yaml": "i: 2\n"}, Orphan: true})
	l.Must(err)
	lib, err := l.server.Create("lib", "main")
	l.Must(err)
	_, err = lib.Commit(map[string]string{"l.yaml": "l: 1\n", ".gitignore": "x"}, "Lib")
	l.Must(err)
	hashL := l.link(lib, map[string][2]string{"deep/inner": {"../inner.git", hashI}})
	tip := l.link(l.repo, map[string][2]string{"vendor/lib": {"../lib.git", hashL}, "foreign": {away.HTTPURL("foreign"), hashF}})

	l.create("fleet", func(o *sourcev1.GitRepository) {
		o.Spec.SecretRef = &meta.LocalObjectReference{Name: "git"}
		o.Spec.RecurseSubmodules = true
	})
	obj := l.ready("fleet", "main@sha1:"+tip)
	want := map[string]string{
		"app/deploy.yaml": "replicas: 1\n", "README.md": "hello\n", "foreign/f.yaml": "f: 1\n",
		"vendor/lib/l.yaml": "l: 1\n", "vendor/lib/deep/inner/i.yaml": "i: 1\n",
	}
	if got := l.files(obj); !maps.Equal(got, want) || !obj.Status.ObservedRecurseSubmodules {
		t.Errorf("files %v, want %v", got, want)
	}
	for _, r := range away.Requests() {
		if r.Authorization {
			t.Errorf("another host saw the credentials: %+v", r)
		}
	}
	l.server.ResetRequests()
	away.ResetRequests()
	l.request("fleet", "again")
	if n, m := len(l.server.Requests()), len(away.Requests()); n != 1 || m != 0 {
		t.Errorf("a look that finds nothing new took %d and %d requests", n, m)
	}
	l.patch("fleet", `{"spec":{"sparseCheckout":["vendor"]}}`)
	obj = l.until("fleet", "sparse", func(o *sourcev1.GitRepository) bool { return len(o.Status.ObservedSparseCheckout) == 1 })
	delete(want, "app/deploy.yaml")
	delete(want, "README.md")
	delete(want, "foreign/f.yaml")
	if got := l.files(obj); !maps.Equal(got, want) {
		t.Errorf("sparse files %v", got)
	}
	l.patch("fleet", `{"spec":{"recurseSubmodules":false,"sparseCheckout":null}}`)
	obj = l.until("fleet", "without submodules", func(o *sourcev1.GitRepository) bool { return !o.Status.ObservedRecurseSubmodules })
	if got := l.files(obj); len(got) != 2 {
		t.Errorf("files without submodules %v", got)
	}
	l.link(l.repo, map[string][2]string{"foreign": {away.HTTPURL("gone"), hashF}})
	l.patch("fleet", `{"spec":{"recurseSubmodules":true}}`)
	_, message := l.failed("fleet", "GitOperationFailed")
	if !strings.HasPrefix(message, "failed to checkout and determine revision: submodule 'foreign': unable to clone '"+away.HTTPURL("gone")+"': repository not found") {
		t.Errorf("message %q", message)
	}
}
