package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/internal/gitrepo/pack"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

func isYAML(name string) bool { return strings.HasSuffix(name, ".yaml") }

// some fetches the YAML files of main below a directory.
func some(t *testing.T, store *Store, r Remote, dir string) *Snapshot {
	t.Helper()
	ctx := context.Background()
	rev, err := store.Resolve(ctx, r, Reference{Branch: "main"})
	must(t, err)
	snap, err := store.FetchFiles(ctx, r, rev, dir, isYAML)
	must(t, err)
	t.Cleanup(snap.Close)
	return snap
}

// readFile reads a file, "" if it was left out.
func readFile(t *testing.T, snap *Snapshot, path string) string {
	t.Helper()
	e, ok, err := snap.Lookup(path)
	if must(t, err); !ok {
		t.Fatalf("no %s", path)
	}
	if !snap.g.db.Has(e.Hash) {
		return ""
	}
	r, _, err := snap.Blob(e.Hash)
	must(t, err)
	defer r.Close()
	data, err := io.ReadAll(r)
	must(t, err)
	return string(data)
}

// TestFetchFiles takes what is wanted of a large repository, then what changes of that, then something else.
func TestFetchFiles(t *testing.T) {
	t.Parallel()
	private, public, err := git.NewSSHKey("ed25519", "")
	must(t, err)
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort, SSH: git.AnyPort, AuthorizedKeys: public})
	monorepo(t, repo, 1000)
	commit(t, repo, git.Change{Message: "More", Files: map[string]string{"apps/01/logo.png": "picture", "apps/01/sub/a.yaml": "a: 1\n", "docs/b.yaml": "b: 1\n"}})
	for name, r := range map[string]Remote{
		"http": {URL: srv.HTTPURL("fleet")},
		"ssh":  {URL: srv.SSHURL("fleet"), Auth: Auth{Identity: private, KnownHosts: srv.KnownHosts()}},
	} {
		var budget int64 // of all so far: a session over SSH is recorded when it has ended
		moved := func(at string, most int64) {
			t.Helper()
			requests := slices.DeleteFunc(srv.Requests(), func(q git.Request) bool { return q.Transport != name })
			if budget += most; git.Sent(requests) > budget {
				t.Errorf("%s: %s moved %d bytes with what came before, %d allowed", name, at, git.Sent(requests), budget)
			}
		}
		read := func(snap *Snapshot, want map[string]string) {
			t.Helper()
			for path, text := range want {
				if got := readFile(t, snap, path); got != text {
					t.Errorf("%s: %s is %q, want %q", name, path, got, text)
				}
			}
		}
		snap := some(t, store, r, "apps/01")
		moved("the first fetch", 150<<10) // 25 files of 1,000, which are 2.4 MB in a pack
		read(snap, map[string]string{"apps/01/sub/a.yaml": "a: 1\n", "apps/01/logo.png": "", "docs/b.yaml": "", "apps/02/0002.yaml": ""})
		if got, _ := repo.Git(nil, "show", "main:apps/01/0001.yaml"); readFile(t, snap, "apps/01/0001.yaml") != got+"\n" {
			t.Errorf("%s: 0001.yaml differs", name)
		}
		commit(t, repo, git.Change{Message: "One", Files: map[string]string{"apps/01/0001.yaml": "a: " + name + "\n", "apps/02/0002.yaml": "b: " + name + "\n"}})
		snap = some(t, store, r, "apps/01")
		moved("a change", 16<<10)
		read(snap, map[string]string{"apps/01/0001.yaml": "a: " + name + "\n", "apps/02/0002.yaml": ""})
		snap = some(t, store, r, "docs/b.yaml")
		moved("one more file", 8<<10)
		read(snap, map[string]string{"docs/b.yaml": "b: 1\n", "apps/02/0002.yaml": ""})
		// What is not there, and what was not wanted, are no accidents that cost the mirror.
		some(t, store, r, "not/there")
		another, err := NewStore(store.dir, Options{})
		must(t, err)
		read(some(t, another, r, "apps/01"), map[string]string{"apps/01/0001.yaml": "a: " + name + "\n"})
		moved("a restart", 4<<10)
		must(t, another.Close())
	}
}

// TestFetchFilesOfOthers has a server that leaves nothing out, and a whole mirror that is there already.
func TestFetchFilesOfOthers(t *testing.T) {
	t.Parallel()
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort})
	commit(t, repo, git.Change{Message: "Files", Files: map[string]string{"a.yaml": "a: 1\n", "b.txt": "b"}})
	_, err := repo.Git(nil, "config", "uploadpack.allowFilter", "false")
	must(t, err)
	r := Remote{URL: srv.HTTPURL("fleet")}
	if snap := some(t, store, r, ""); readFile(t, snap, "b.txt") != "b" || readFile(t, snap, "a.yaml") != "a: 1\n" {
		t.Error("the whole tree is not there")
	}
	_, err = repo.Git(nil, "config", "uploadpack.allowFilter", "true")
	must(t, err)
	commit(t, repo, git.Change{Message: "More", Files: map[string]string{"c.txt": "c"}})
	if snap := some(t, store, r, ""); readFile(t, snap, "c.txt") != "c" {
		t.Error("the whole mirror is not used")
	}
}

// TestFilesOfAnOldMirror renews a mirror for files, and reads on.
func TestFilesOfAnOldMirror(t *testing.T) {
	t.Parallel()
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort})
	r := Remote{URL: srv.HTTPURL("fleet")}
	for i := range maxPacks + 3 {
		commit(t, repo, git.Change{Message: "Next", Files: map[string]string{"a.yaml": fmt.Sprintf("a: %d\n", i), "b.txt": fmt.Sprint(i)}})
		if snap := some(t, store, r, ""); readFile(t, snap, "a.yaml") != fmt.Sprintf("a: %d\n", i) || readFile(t, snap, "b.txt") != "" {
			t.Fatalf("after %d commits", i)
		}
	}
	m, err := store.partial(r)
	must(t, err)
	g, err := m.open()
	must(t, err)
	defer g.release()
	if _, err := g.measure(); err != nil || g.db.Packs() > maxPacks+1 {
		t.Errorf("%d packs, %v", g.db.Packs(), err)
	}
	snap := some(t, store, r, "")
	e, _, err := snap.Lookup("b.txt")
	must(t, err)
	if _, _, err := snap.Blob(e.Hash); !errors.Is(err, pack.ErrMissing) {
		t.Errorf("a file that was left out: %v", err)
	}
	// That was a mistake of ours; the mirror is built anew.
	if snap := some(t, store, r, ""); readFile(t, snap, "a.yaml") != fmt.Sprintf("a: %d\n", maxPacks+2) {
		t.Error("nothing is there")
	}
	if dirs, _ := filepath.Glob(filepath.Join(store.dir, "*-files")); len(dirs) != 1 {
		t.Errorf("mirrors %q", dirs)
	}
	if n, err := store.Collect(0); err != nil || n != 1 {
		t.Errorf("%d collected, %v", n, err)
	}
}

// TestReaches looks at histories of which nothing is here.
func TestReaches(t *testing.T) {
	t.Parallel()
	for name, filter := range map[string]string{"partial": "true", "whole": "false"} {
		srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort})
		_, err := repo.Git(nil, "config", "uploadpack.allowFilter", filter)
		must(t, err)
		r, ctx := Remote{URL: srv.HTTPURL("fleet")}, context.Background()
		next := func(branch, from, text string) Hash {
			rev, err := Reference{Commit: commit(t, repo, git.Change{Branch: branch, From: from, Message: text, Files: map[string]string{"a": text}})}.fixed()
			must(t, err)
			return rev.Commit
		}
		first := next("main", "", "1")
		next("main", "", "2")
		tip := next("main", "", "3")
		other := next("other", first.String(), "4")
		for _, tc := range []struct {
			tip, earlier Hash
			want         bool
		}{{tip, first, true}, {tip, tip, true}, {tip, other, false}, {other, tip, false}, {other, first, true}} {
			if got, err := store.Reaches(ctx, r, tc.tip, tc.earlier); err != nil || got != tc.want {
				t.Errorf("%s: %s builds on %s: %v, %v", name, tc.tip, tc.earlier, got, err)
			}
		}
	}
}
