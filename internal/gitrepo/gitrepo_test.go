package gitrepo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/test/servers/git"
)

// setup is a server, a repository on it with one commit, and an empty store.
func setup(t testing.TB, opts git.Options) (*git.Server, *git.Repo, *Store) {
	t.Helper()
	opts.Root = t.TempDir()
	srv, err := git.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	repo, err := srv.Create("fleet", "main")
	if err != nil {
		t.Fatal(err)
	}
	commit(t, repo, git.Change{Message: "Begin", Files: map[string]string{
		"README": "hello\n", "apps/web/deploy.yaml": "replicas: 1\n", "apps/db/set.yaml": "size: 1\n", "run.sh": "#!/bin/sh\n",
	}, Executables: []string{"run.sh"}, Symlinks: map[string]string{"link": "README"}})
	return srv, repo, newStore(t, t.TempDir())
}

func newStore(t testing.TB, dir string) *Store {
	t.Helper()
	store, err := NewStore(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func commit(t testing.TB, repo *git.Repo, c git.Change) string {
	t.Helper()
	hash, err := repo.Apply(c)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // A machine may be slow.
	t.Cleanup(cancel)
	return ctx
}

// get resolves and fetches, and returns the revision and all files by path.
func get(t testing.TB, s *Store, r Remote, ref Reference) (Revision, map[string]string) {
	t.Helper()
	rev, files, err := tryGet(patient(t), s, r, ref)
	must(t, err)
	return rev, files
}

func tryGet(ctx context.Context, s *Store, r Remote, ref Reference) (Revision, map[string]string, error) {
	rev, err := s.Resolve(ctx, r, ref)
	if err != nil {
		return rev, nil, err
	}
	snap, err := s.Fetch(ctx, r, rev)
	if err != nil {
		return rev, nil, err
	}
	defer snap.Close()
	files, err := read(snap)
	return rev, files, err
}

func read(snap *Snapshot) (map[string]string, error) {
	files := map[string]string{}
	err := snap.Walk(func(p string, e Entry) (bool, error) {
		if e.Mode == ModeDir {
			return true, nil
		}
		r, size, err := snap.Blob(e.Hash)
		if err != nil {
			return false, err
		}
		defer r.Close()
		data, err := io.ReadAll(r)
		if err != nil {
			return false, err
		}
		if n, serr := snap.Size(e.Hash); serr != nil || n != size || int64(len(data)) != size {
			return false, fmt.Errorf("%s: sizes %d, %d, %d: %w", p, n, size, len(data), serr)
		}
		files[p] = string(data)
		return false, err
	})
	return files, err
}

// content is what git says the revision contains.
func content(t testing.TB, repo *git.Repo, rev string) map[string]string {
	t.Helper()
	list, err := repo.Git(nil, "ls-tree", "-r", "-z", "--format=%(objectname) %(path)", rev)
	must(t, err)
	var names, paths []string
	for _, line := range strings.Split(strings.TrimSuffix(list, "\x00"), "\x00") {
		name, p, _ := strings.Cut(line, " ")
		names, paths = append(names, name), append(paths, p)
	}
	cmd := exec.Command("git", "cat-file", "--batch=%(objectsize)")
	cmd.Dir, cmd.Stdin = repo.Dir, strings.NewReader(strings.Join(names, "\n")+"\n")
	out, err := cmd.Output()
	must(t, err)
	files := map[string]string{}
	r := bytes.NewBuffer(out)
	for _, p := range paths {
		line, err := r.ReadString('\n')
		must(t, err)
		size, err := strconv.Atoi(strings.TrimSpace(line))
		must(t, err)
		files[p] = string(r.Next(size))
		r.Next(1)
	}
	return files
}

func check(t testing.TB, repo *git.Repo, rev Revision, files map[string]string, want string) {
	t.Helper()
	hash, err := repo.Resolve(want + "^{commit}")
	must(t, err)
	if rev.Commit.String() != hash {
		t.Fatalf("got %s, want %s (%s)", rev, hash, want)
	}
	if !maps.Equal(files, content(t, repo, want)) {
		t.Fatalf("files of %s differ: %v", want, files)
	}
}

// fsck lets git check the mirrors of a store.
func fsck(t testing.TB, s *Store) {
	t.Helper()
	dirs, _ := filepath.Glob(filepath.Join(s.dir, "*", "*", "packed-refs"))
	if len(dirs) == 0 {
		t.Fatal("no mirror to check")
	}
	for _, d := range dirs {
		cmd := exec.Command("git", "-c", "safe.directory=*", "fsck", "--full", "--strict", "--no-dangling")
		cmd.Env = append(os.Environ(), "GIT_DIR="+filepath.Dir(d))
		if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "error") {
			t.Fatalf("git fsck: %v\n%s", err, out)
		}
	}
}

func TestReferences(t *testing.T) {
	t.Parallel()
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort})
	at := time.Unix(1_700_000_000, 0)
	first := commit(t, repo, git.Change{Message: "One", Files: map[string]string{"a": "1"}, Time: at})
	must(t, repo.Tag("v1.0.0", first, ""))
	must(t, repo.Tag("v1.2.0", first, "Release 1.2"))
	second := commit(t, repo, git.Change{Message: "Two", Files: map[string]string{"a": "2"}, Time: at.Add(time.Hour)})
	must(t, repo.Tag("1.10.0+b1", first, ""))
	must(t, repo.Tag("v1.10.0+b2", second, "Again"))
	must(t, repo.Tag("v2.0.0-rc.1", second, ""))
	must(t, repo.Tag("v9.9", second, ""))
	must(t, repo.SetRef("refs/pull/1/head", first))
	commit(t, repo, git.Change{Branch: "feature/x", Message: "X", Files: map[string]string{"x": "x"}})
	commit(t, repo, git.Change{Branch: "master", Message: "M", Files: map[string]string{"m": "m"}})
	remote := Remote{URL: srv.HTTPURL("fleet")}
	sha := func(rev string) string { h, err := repo.Resolve(rev + "^{commit}"); must(t, err); return "sha1:" + h }
	for _, tc := range []struct {
		reason string
		ref    Reference
		want   string
		rev    string
	}{
		{"a branch", Reference{Branch: "main"}, "main@" + sha("main"), "main"},
		{"a branch with a slash", Reference{Branch: "feature/x"}, "feature/x@" + sha("feature/x"), "feature/x"},
		{"nothing means master", Reference{}, "master@" + sha("master"), "master"},
		{"a plain tag", Reference{Tag: "v1.0.0"}, "v1.0.0@" + sha("v1.0.0"), "v1.0.0"},
		{"an annotated tag means its commit", Reference{Tag: "v1.2.0"}, "v1.2.0@" + sha("v1.2.0"), "v1.2.0"},
		{"the highest version; of equal ones the later commit", Reference{SemVer: "1.x"}, "v1.10.0+b2@" + sha("main"), "main"},
		{"a range with a pre-release", Reference{SemVer: ">=2.0.0-rc"}, "v2.0.0-rc.1@" + sha("main"), "main"},
		{"a range with one match", Reference{SemVer: "~1.2"}, "v1.2.0@" + sha("v1.2.0"), "v1.2.0"},
		{"tag wins over semver", Reference{SemVer: "1.x", Tag: "v1.0.0"}, "v1.0.0@" + sha("v1.0.0"), "v1.0.0"},
		{"a branch by name", Reference{Name: "refs/heads/main"}, "refs/heads/main@" + sha("main"), "main"},
		{"a tag by name, dereferenced", Reference{Name: "refs/tags/v1.2.0^{}"}, "refs/tags/v1.2.0^{}@" + sha("v1.2.0"), "v1.2.0"},
		{"a pull request", Reference{Name: "refs/pull/1/head"}, "refs/pull/1/head@" + sha(first), first},
		{"name wins over tag", Reference{Name: "refs/heads/main", Tag: "v1.0.0"}, "refs/heads/main@" + sha("main"), "main"},
		{"a commit in the past", Reference{Commit: first}, sha(first), first},
		{"a commit of a branch", Reference{Commit: first, Branch: "main"}, "main@" + sha(first), first},
		{"a commit that is the tip", Reference{Commit: second, Branch: "main"}, "main@" + sha(second), second},
		{"a commit and a name", Reference{Commit: first, Name: "refs/heads/main"}, "refs/heads/main@" + sha(first), first},
	} {
		for name, s := range map[string]*Store{"shared": store, "fresh": newStore(t, t.TempDir())} {
			rev, files := get(t, s, remote, tc.ref)
			if rev.String() != tc.want {
				t.Errorf("%s (%s mirror): revision %s, want %s", tc.reason, name, rev, tc.want)
				continue
			}
			check(t, repo, rev, files, tc.rev)
			fsck(t, s)
		}
	}
}

func TestReferencesThatAreNot(t *testing.T) {
	t.Parallel()
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort})
	other := commit(t, repo, git.Change{Branch: "other", Orphan: true, Message: "Apart", Files: map[string]string{"o": "o"}})
	lost := commit(t, repo, git.Change{Branch: "lost", Orphan: true, Message: "Lost", Files: map[string]string{"l": "l"}})
	for _, branch := range []string{"other", "lost"} { // That the mirror has them makes no difference.
		get(t, store, Remote{URL: srv.HTTPURL("fleet")}, Reference{Branch: branch})
	}
	get(t, store, Remote{URL: srv.HTTPURL("fleet")}, Reference{Commit: other, Branch: "other"})
	must(t, repo.DeleteRef("refs/heads/lost"))
	tree, err := repo.Resolve("main^{tree}")
	must(t, err)
	must(t, repo.SetRef("refs/tags/tree", tree))
	url := srv.HTTPURL("fleet")
	for _, tc := range []struct {
		reason string
		ref    Reference
		want   string
	}{
		{"no such branch", Reference{Branch: "missing"}, "unable to clone '" + url + "': couldn't find remote ref \"refs/heads/missing\""},
		{"no such tag", Reference{Tag: "v3"}, "unable to clone '" + url + "': couldn't find remote ref \"refs/tags/v3\""},
		{"no such ref", Reference{Name: "refs/pull/7/head"}, "unable to clone '" + url + "': couldn't find remote ref \"refs/pull/7/head\""},
		{"a name of two lines", Reference{Branch: "a\nb"}, "unable to clone '" + url + "': couldn't find remote ref \"refs/heads/a\\nb\""},
		{"no version", Reference{SemVer: "1.x"}, "no match found for semver: 1.x"},
		{"a commit of another branch", Reference{Commit: other, Branch: "main"}, "unable to resolve commit object for '" + other + "': object not found"},
		{"a commit that no ref reaches", Reference{Commit: lost}, "unable to resolve commit object for '" + lost + "': object not found"},
		{"half a commit", Reference{Commit: "abc"}, "unable to resolve commit object for 'abc': it is not a full SHA-1 of 40 digits"},
		{"a tag of a tree", Reference{Tag: "tree"}, "unable to clone '" + url + "': what the remote sent: reference not found: " + tree + " is a tree, not a commit"},
	} {
		_, _, err := tryGet(patient(t), store, Remote{URL: url}, tc.ref)
		if !errors.Is(err, ErrReference) || err.Error() != tc.want {
			t.Errorf("%s: %v, want %s", tc.reason, err, tc.want)
		}
	}
	if _, err := store.Resolve(patient(t), Remote{URL: url}, Reference{SemVer: "not a range"}); err == nil {
		t.Error("a malformed range was taken")
	}
	rev, files := get(t, store, Remote{URL: url}, Reference{Branch: "main"})
	check(t, repo, rev, files, "main")
}

func TestEmptyRepositoryAndHead(t *testing.T) {
	t.Parallel()
	srv, _, store := setup(t, git.Options{HTTP: git.AnyPort})
	repo, err := srv.Create("empty", "trunk")
	must(t, err)
	remote := Remote{URL: srv.HTTPURL("empty")}
	for _, ref := range []Reference{{Branch: "trunk"}, {SemVer: "*"}, {Name: "refs/heads/x"}} {
		if _, err := store.Resolve(patient(t), remote, ref); !errors.Is(err, ErrEmpty) {
			t.Errorf("%s of an empty repository: %v, want ErrEmpty", ref, err)
		}
	}
	if branch, err := RemoteHead(patient(t), remote); err != nil || branch != "trunk" {
		t.Errorf("head of an empty repository: %q, %v", branch, err)
	}
	commit(t, repo, git.Change{Message: "Begin", Files: map[string]string{"a": "a"}})
	if branch, err := RemoteHead(patient(t), remote); err != nil || branch != "trunk" {
		t.Errorf("head: %q, %v", branch, err)
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	srv, _, store := setup(t, git.Options{HTTP: git.AnyPort})
	remote := Remote{URL: srv.HTTPURL("fleet")}
	rev, err := store.Resolve(patient(t), remote, Reference{Branch: "main"})
	must(t, err)
	snap, err := store.Fetch(patient(t), remote, rev)
	must(t, err)
	defer snap.Close()
	got := map[string]Mode{}
	must(t, snap.Walk(func(p string, e Entry) (bool, error) { got[p] = e.Mode; return true, nil }))
	want := map[string]Mode{
		"README": ModeFile, "run.sh": ModeExecutable, "link": ModeSymlink, "apps": ModeDir, "apps/web": ModeDir,
		"apps/db": ModeDir, "apps/web/deploy.yaml": ModeFile, "apps/db/set.yaml": ModeFile,
	}
	if !maps.Equal(got, want) {
		t.Errorf("modes %v, want %v", got, want)
	}
	if c := snap.Commit(); c.Subject() != "Begin" || c.Author != "Test <test@example.com>" || c.Time.IsZero() {
		t.Errorf("commit %+v", c)
	}
	r, _, err := snap.Open("apps/web/deploy.yaml")
	must(t, err)
	if data, err := io.ReadAll(r); err != nil || string(data) != "replicas: 1\n" {
		t.Errorf("deploy.yaml is %q, %v", data, err)
	}
	if _, _, err := snap.Open("apps/none"); !errors.Is(err, ErrReference) {
		t.Errorf("a file that is not there: %v", err)
	}
}
