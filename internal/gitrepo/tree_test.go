package gitrepo

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/test/servers/git"
)

// plant makes a commit of a raw tree object, which git's own commands would refuse.
func plant(t *testing.T, repo *git.Repo, branch string, tree []byte) {
	t.Helper()
	hash, err := repo.Git(bytes.NewReader(tree), "hash-object", "-t", "tree", "-w", "--stdin", "--literally")
	must(t, err)
	c, err := repo.Git(nil, "commit-tree", "-m", "Hostile", hash)
	must(t, err)
	must(t, repo.SetRef("refs/heads/"+branch, c))
}

func TestHostileNames(t *testing.T) {
	t.Parallel()
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort})
	blob, err := repo.Git(strings.NewReader("x"), "hash-object", "-w", "--stdin")
	must(t, err)
	hash, err := repo.Git(nil, "rev-parse", blob)
	must(t, err)
	raw := make([]byte, 20)
	_, err = fmt.Sscanf(hash, "%x", &raw)
	must(t, err)
	for i, name := range []string{
		"..", ".", ".git", ".GIT", ".Git", ".git ", ".git...", "git~1", "GIT~1", ".g\u200cit", ".git::$INDEX_ALLOCATION",
		"a/b", "/etc", "../x", strings.Repeat("n", 300),
	} {
		branch := fmt.Sprintf("bad%d", i)
		plant(t, repo, branch, append([]byte("100644 "+name+"\x00"), raw...))
		_, _, err := tryGet(patient(t), store, Remote{URL: srv.HTTPURL("fleet")}, Reference{Branch: branch})
		if !errors.Is(err, ErrTree) {
			t.Errorf("a file named %q: %v, want ErrTree", name, err)
		}
	}
	for i, name := range []string{".gitignore", ".gitmodules", ".github", "git", "git~10", "a b", "ü", "-x", `a\b`} {
		branch := fmt.Sprintf("good%d", i)
		plant(t, repo, branch, append([]byte("100644 "+name+"\x00"), raw...))
		_, files, err := tryGet(patient(t), store, Remote{URL: srv.HTTPURL("fleet")}, Reference{Branch: branch})
		if err != nil || files[name] != "x" {
			t.Errorf("a file named %q: %v, %v", name, files, err)
		}
	}
}

// TestTreeBomb is ten levels of ten names each for the same tree: a few kilobytes that claim to be ten
// thousand million files.
func TestTreeBomb(t *testing.T) {
	t.Parallel()
	srv, repo, _ := setup(t, git.Options{HTTP: git.AnyPort})
	hash, err := repo.Resolve("main^{tree}")
	must(t, err)
	for range 10 {
		var list strings.Builder
		for i := range 10 {
			fmt.Fprintf(&list, "040000 tree %s\td%d\n", hash, i)
		}
		hash, err = repo.Git(strings.NewReader(list.String()), "mktree")
		must(t, err)
	}
	c, err := repo.Git(nil, "commit-tree", "-m", "Bomb", hash)
	must(t, err)
	must(t, repo.SetRef("refs/heads/bomb", c))
	store, err := NewStore(t.TempDir(), Options{MaxEntries: 10_000})
	must(t, err)
	remote := Remote{URL: srv.HTTPURL("fleet")}
	rev, err := store.Resolve(patient(t), remote, Reference{Branch: "bomb"})
	must(t, err)
	snap, err := store.Fetch(patient(t), remote, rev)
	must(t, err)
	defer snap.Close()
	err = snap.Walk(func(string, Entry) (bool, error) { return true, nil })
	if !errors.Is(err, ErrTree) {
		t.Fatalf("%v, want ErrTree", err)
	}
}

func FuzzParseTree(f *testing.F) {
	f.Add([]byte("100644 a\x00aaaaaaaaaaaaaaaaaaaa40000 b\x00bbbbbbbbbbbbbbbbbbbb"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseTree(data)
		if err != nil {
			return
		}
		for _, e := range entries {
			if e.Name == "" || e.Name == ".." || strings.ContainsAny(e.Name, "/\x00") || strings.EqualFold(e.Name, ".git") {
				t.Fatalf("%q went through", e.Name)
			}
		}
	})
}
