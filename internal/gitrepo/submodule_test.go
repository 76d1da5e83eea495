package gitrepo_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// link commits a submodule, with the .gitmodules that names it, onto main.
func link(t *testing.T, repo *git.Repo, modules string, commits map[string]string) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "commit refs/heads/main\ncommitter Test <test@example.com> 1700000000 +0000\ndata 4\nLink\n")
	if tip, err := repo.Resolve("refs/heads/main"); err == nil {
		fmt.Fprintf(&b, "from %s\n", tip)
	}
	fmt.Fprintf(&b, "M 100644 inline .gitmodules\ndata %d\n%s\n", len(modules), modules)
	for path, hash := range commits {
		fmt.Fprintf(&b, "M 160000 %s %s\n", hash, path)
	}
	if _, err := repo.Git(strings.NewReader(b.String()+"\n"), "fast-import", "--quiet"); err != nil {
		t.Fatal(err)
	}
}

func TestSubmoduleAddresses(t *testing.T) {
	t.Parallel()
	srv, err := git.Start(git.Options{Root: t.TempDir(), HTTP: git.AnyPort})
	check(t, err)
	t.Cleanup(func() { _ = srv.Close() })
	store, err := gitrepo.NewStore(t.TempDir(), gitrepo.Options{})
	check(t, err)
	for i, tc := range []struct{ base, raw, want string }{
		{"https://h/org/app.git", "../lib.git", "https://h/org/lib.git"},
		{"https://h/org/app.git", "../../other/lib", "https://h/other/lib"},
		{"https://h/org/app", "./lib", "https://h/org/app/lib"},
		{"ssh://git@h:22/org/app/", ".././lib", "ssh://git@h:22/org/lib"},
		{"https://h/org/app", "git@github.com:org/lib.git", "ssh://git@github.com/org/lib.git"},
		{"https://h/org/app", "github.com:/org/lib.git", "ssh://git@github.com/org/lib.git"},
		{"https://h/org/app", "https://other/lib", "https://other/lib"},
		{"https://h/app", "../../../lib", ""},
		{"https://h/app", "file:///etc", ""},
		{"https://h/app", "/etc/passwd", ""},
		{"https://h/app", "ext::sh -c id", ""},
		{"https://h/app", "-oProxyCommand=id:x", ""},
		{"https://h/app", "", ""},
	} {
		repo, err := srv.Create(fmt.Sprintf("r%d", i), "main")
		check(t, err)
		link(t, repo, fmt.Sprintf("[submodule \"x\"]\n\tpath = sub\n\turl = %q\n", tc.raw), map[string]string{"sub": strings.Repeat("a", 40)})
		remote := gitrepo.Remote{URL: srv.HTTPURL(repo.Name)}
		rev, err := store.Resolve(context.Background(), remote, gitrepo.Reference{Branch: "main"})
		check(t, err)
		snap, err := store.Fetch(context.Background(), remote, rev)
		check(t, err)
		list, err := snap.Submodules(tc.base)
		snap.Close()
		switch {
		case tc.want == "":
			if !errors.Is(err, gitrepo.ErrSubmodule) {
				t.Errorf("%q: %v, %v, want it refused", tc.raw, list, err)
			}
		case err != nil || len(list) != 1 || list[0].URL != tc.want || list[0].Path != "sub":
			t.Errorf("%q at %s: %+v, %v, want %s", tc.raw, tc.base, list, err, tc.want)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestSubmodulesOfSubmodules nests repositories that name each other: it ends at the limit, with a word.
func TestSubmodulesOfSubmodules(t *testing.T) {
	t.Parallel()
	srv, err := git.Start(git.Options{Root: t.TempDir(), HTTP: git.AnyPort})
	check(t, err)
	t.Cleanup(func() { _ = srv.Close() })
	store, err := gitrepo.NewStore(t.TempDir(), gitrepo.Options{})
	check(t, err)
	inner := strings.Repeat("a", 40)
	for i := range 10 {
		repo, err := srv.Create(fmt.Sprintf("r%d", i), "main")
		check(t, err)
		if i == 0 {
			_, err = repo.Commit(map[string]string{"x": "y"}, "Innermost")
			check(t, err)
		} else {
			link(t, repo, fmt.Sprintf("[submodule \"x\"]\npath = sub\nurl = ../r%d.git\n", i-1), map[string]string{"sub": inner})
		}
		inner, err = repo.Resolve("main")
		check(t, err)
	}
	for top, want := range map[int]int{8: 8, 9: -1} {
		remote := gitrepo.Remote{URL: srv.HTTPURL(fmt.Sprintf("r%d", top))}
		rev, err := store.Resolve(context.Background(), remote, gitrepo.Reference{Branch: "main"})
		check(t, err)
		snap, err := store.Fetch(context.Background(), remote, rev)
		check(t, err)
		list, err := store.Submodules(context.Background(), remote, snap, gitrepo.SubmoduleOptions{})
		snap.Close()
		if want < 0 && !errors.Is(err, gitrepo.ErrSubmodule) || want >= 0 && (err != nil || len(list) != want) {
			t.Errorf("r%d: %d submodules, %v", top, len(list), err)
		}
		for _, c := range list {
			c.Snapshot.Close()
		}
	}
}

func TestElsewhere(t *testing.T) {
	t.Parallel()
	auth := gitrepo.Auth{Username: "u", Password: "p", CA: []byte("ca"), ClientCert: []byte("c"), ClientKey: []byte("k"), Principal: "me"}
	for _, tc := range []struct {
		from, to string
		carries  bool
	}{
		{"https://h/a", "https://h/b", true},
		{"https://h/a", "https://H/b", true},
		{"http://h/a", "https://h/b", true},
		{"https://h/a", "http://h/b", false},
		{"https://h/a", "https://h:8443/b", false},
		{"https://h/a", "https://h.evil/b", false},
		{"https://h/a", "https://evil@h.example/b", false},
		{"https://h/a", "ssh://h/b", false},
	} {
		got := gitrepo.Remote{URL: tc.from, Auth: auth}.Elsewhere(tc.to)
		carries := got.Auth.Password != "" && len(got.Auth.ClientKey) > 0 && got.Auth.Principal != ""
		none := got.Auth.Username == "" && got.Auth.Password == "" && len(got.Auth.ClientKey) == 0 && got.Auth.Principal == ""
		if carries != tc.carries || none == tc.carries || string(got.Auth.CA) != "ca" {
			t.Errorf("%s to %s: %+v", tc.from, tc.to, got.Auth)
		}
	}
	if got := (gitrepo.Remote{URL: "https://u:p@h/a"}).Elsewhere("https://h/b"); got.URL != "https://u:p@h/b" {
		t.Errorf("user in the address: %s", got.URL)
	}
	if got := (gitrepo.Remote{URL: "https://u:p@h/a"}).Elsewhere("https://other/b"); got.URL != "https://other/b" {
		t.Errorf("user in the address, another host: %s", got.URL)
	}
}
