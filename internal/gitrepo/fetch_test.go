package gitrepo

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/test/servers/git"
)

// monorepo adds files of about 4 kB each.
func monorepo(t testing.TB, repo *git.Repo, files int) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(1, 2))
	content := map[string]string{}
	for i := range files {
		var b strings.Builder
		for range 100 {
			fmt.Fprintf(&b, "key-%x: %x\n", rnd.Uint32(), rnd.Uint64())
		}
		content[fmt.Sprintf("apps/%02d/%04d.yaml", i%40, i)] = b.String()
	}
	commit(t, repo, git.Change{Message: "Many files", Files: content})
}

// TestBytesFollowTheChange is the budget of a fetch: a change of one line costs kilobytes, whatever the
// shape of history around it.
func TestBytesFollowTheChange(t *testing.T) {
	t.Parallel()
	private, public, err := git.NewSSHKey("ed25519", "")
	must(t, err)
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort, HTTPS: git.AnyPort, SSH: git.AnyPort, AuthorizedKeys: public})
	for i := range 30 {
		commit(t, repo, git.Change{Branch: "old", Message: "Old", Files: map[string]string{"old": fmt.Sprint(i)}})
	}
	monorepo(t, repo, 1000)
	remotes := map[string]Remote{
		"http":  {URL: srv.HTTPURL("fleet")},
		"https": {URL: srv.HTTPSURL("fleet"), Auth: Auth{CA: srv.CA()}},
		"ssh":   {URL: srv.SSHURL("fleet"), Auth: Auth{Identity: private, KnownHosts: srv.KnownHosts()}},
	}
	for _, r := range remotes {
		rev, files := get(t, store, r, Reference{Branch: "main"})
		check(t, repo, rev, files, "main")
	}
	base, err := repo.Resolve("main")
	must(t, err)
	for _, step := range []struct {
		name   string
		change func()
	}{
		{"one line", func() {
			commit(t, repo, git.Change{Message: "One", Files: map[string]string{"apps/01/0001.yaml": "a: 1\n"}})
		}},
		{"merge of an old branch", func() {
			old, err := repo.Resolve("old")
			must(t, err)
			commit(t, repo, git.Change{Message: "Merge", Merge: []string{old}, Files: map[string]string{"old": "29"}})
		}},
		{"force-push to the past", func() {
			commit(t, repo, git.Change{Message: "Other", From: base, Files: map[string]string{"apps/02/0002.yaml": "b: 1\n"}})
		}},
		{"a new root with the same files", func() {
			_, err := repo.Git(nil, "update-ref", "refs/heads/main", orphan(t, repo))
			must(t, err)
		}},
	} {
		step.change()
		for name, r := range remotes {
			srv.ResetRequests()
			rev, files := get(t, store, r, Reference{Branch: "main"})
			check(t, repo, rev, files, "main")
			if n := git.Sent(srv.Requests()); n > 8<<10 {
				t.Errorf("%s over %s moved %d bytes", step.name, name, n)
			}
		}
	}
	fsck(t, store)
}

// orphan makes a commit of main's tree without parents.
func orphan(t *testing.T, repo *git.Repo) string {
	hash, err := repo.Git(nil, "commit-tree", "-m", "Anew", "main^{tree}")
	must(t, err)
	return hash
}

// TestPollIsOneListing is the budget of a poll that finds nothing new.
func TestPollIsOneListing(t *testing.T) {
	t.Parallel()
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort})
	remote := Remote{URL: srv.HTTPURL("fleet")}
	get(t, store, remote, Reference{Branch: "main"})
	side := commit(t, repo, git.Change{Branch: "side", Message: "Aside", Files: map[string]string{"a": "b"}})
	for branch, want := range map[string]string{"side": side, "absent": Hash{}.String()} {
		srv.ResetRequests()
		rev, tip, err := store.ResolveBeside(patient(t), remote, Reference{Branch: "main"}, branch)
		if err != nil || rev.Name != "main" || tip.Commit.String() != want {
			t.Errorf("main is %s, %s is %s, %v", rev, branch, tip, err)
		}
		if reqs := srv.Requests(); len(reqs) != 1 {
			t.Errorf("two branches made %+v", reqs)
		}
	}
	if _, _, err := store.ResolveBeside(patient(t), remote, Reference{Tag: "absent"}, "side"); !errors.Is(err, ErrReference) {
		t.Errorf("a reference that is not there: %v", err)
	}
	srv.ResetRequests()
	get(t, store, remote, Reference{Branch: "main"})
	if reqs := srv.Requests(); len(reqs) != 1 || reqs[0].Sent > 200 {
		t.Fatalf("a poll made %+v", reqs)
	}
	rev, err := store.Resolve(patient(t), remote, Reference{Branch: "main"})
	must(t, err)
	for _, want := range []int{1, 0} { // Once it is looked whether the branch reaches the commit.
		srv.ResetRequests()
		get(t, store, remote, Reference{Branch: "main", Commit: rev.Commit.String()})
		if reqs := srv.Requests(); len(reqs) != want {
			t.Fatalf("a commit that is here made %+v", reqs)
		}
	}
}

func TestRewrittenTagAndDeletedBranch(t *testing.T) {
	t.Parallel()
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort})
	remote := Remote{URL: srv.HTTPURL("fleet")}
	must(t, repo.Tag("v1.0.0", "main", "One"))
	get(t, store, remote, Reference{Tag: "v1.0.0"})
	commit(t, repo, git.Change{Message: "Two", Files: map[string]string{"two": "2"}})
	must(t, repo.Tag("v1.0.0", "main", "One, again"))
	rev, files := get(t, store, remote, Reference{Tag: "v1.0.0"})
	check(t, repo, rev, files, "v1.0.0")

	commit(t, repo, git.Change{Branch: "gone", Message: "Gone", Files: map[string]string{"g": "g"}})
	get(t, store, remote, Reference{Branch: "gone"})
	must(t, repo.DeleteRef("refs/heads/gone"))
	if _, _, err := tryGet(patient(t), store, remote, Reference{Branch: "gone"}); !errors.Is(err, ErrReference) {
		t.Fatalf("a deleted branch: %v", err)
	}
	fsck(t, store)
}

func TestAnnotatedTagOfFetchedCommit(t *testing.T) {
	t.Parallel()
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort})
	remote := Remote{URL: srv.HTTPURL("fleet")}
	get(t, store, remote, Reference{Branch: "main"})
	must(t, repo.Tag("v1.0.0", "main", "The release"))
	rev, err := store.Resolve(patient(t), remote, Reference{Tag: "v1.0.0"})
	must(t, err)
	snap, err := store.Fetch(patient(t), remote, rev)
	must(t, err)
	defer snap.Close()
	if tag, err := snap.Tag(); err != nil || !strings.Contains(string(tag), "The release") {
		t.Fatalf("tag object %q, %v", tag, err)
	}
}

func TestMirrorOutlivesRestart(t *testing.T) {
	t.Parallel()
	srv, repo, first := setup(t, git.Options{HTTP: git.AnyPort})
	monorepo(t, repo, 200)
	remote := Remote{URL: srv.HTTPURL("fleet")}
	get(t, first, remote, Reference{Branch: "main"})
	must(t, first.Close())

	second := newStore(t, first.dir)
	srv.ResetRequests()
	rev, files := get(t, second, remote, Reference{Branch: "main"})
	check(t, repo, rev, files, "main")
	if n := git.Sent(srv.Requests()); n > 1<<10 {
		t.Errorf("after a restart %d bytes were moved", n)
	}
	commit(t, repo, git.Change{Message: "Next", Files: map[string]string{"n": "n"}})
	srv.ResetRequests()
	rev, files = get(t, second, remote, Reference{Branch: "main"})
	check(t, repo, rev, files, "main")
	if n := git.Sent(srv.Requests()); n > 8<<10 {
		t.Errorf("one line after a restart moved %d bytes", n)
	}
}

// TestDamage breaks each file of a mirror in turn, as a crash or a bad disk would.
func TestDamage(t *testing.T) {
	t.Parallel()
	srv, repo, _ := setup(t, git.Options{HTTP: git.AnyPort})
	monorepo(t, repo, 50)
	remote := Remote{URL: srv.HTTPURL("fleet")}
	for _, pattern := range []string{"*.pack", "*.idx", stateFile, "objects"} {
		for _, how := range []string{"flip", "cut", "remove"} {
			dir := t.TempDir()
			store := newStore(t, dir)
			get(t, store, remote, Reference{Branch: "main"})
			for _, path := range find(t, dir, pattern) {
				spoil(t, path, how)
			}
			for _, s := range []*Store{newStore(t, dir), store} { // a new process, and one that runs on
				rev, files, err := tryGet(patient(t), s, remote, Reference{Branch: "main"})
				if err != nil {
					if !errors.Is(err, ErrDamaged) {
						t.Fatalf("%s %s: %v, want ErrDamaged", how, pattern, err)
					}
					rev, files = get(t, s, remote, Reference{Branch: "main"})
				}
				check(t, repo, rev, files, "main")
			}
			fsck(t, store)
		}
	}
}

func find(t *testing.T, dir, pattern string) (paths []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if ok, _ := filepath.Match(pattern, filepath.Base(path)); ok {
			paths = append(paths, path)
		}
		return err
	}))
	if len(paths) == 0 {
		t.Fatalf("no %s to spoil", pattern)
	}
	return paths
}

func spoil(t *testing.T, path, how string) {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	if info.IsDir() || how == "remove" {
		must(t, os.RemoveAll(path))
		return
	}
	data, err := os.ReadFile(path)
	must(t, err)
	if how == "cut" {
		data = data[:len(data)/2]
	} else {
		data[len(data)/2] ^= 0xff
	}
	must(t, os.WriteFile(path, data, 0o600))
}

// TestOutgrownMirrorIsRenewed replaces a large file until the mirror is far larger than a fresh one.
func TestOutgrownMirrorIsRenewed(t *testing.T) {
	t.Parallel()
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort})
	remote := Remote{URL: srv.HTTPURL("fleet")}
	rnd := rand.New(rand.NewPCG(5, 6))
	largest := int64(0)
	for range 12 {
		big := make([]byte, 2<<20)
		for i := range big {
			big[i] = byte(rnd.Uint32())
		}
		commit(t, repo, git.Change{Message: "Big", Files: map[string]string{"big": string(big)}})
		rev, files := get(t, store, remote, Reference{Branch: "main"})
		check(t, repo, rev, files, "main")
		largest = max(largest, diskUsage(t, store.dir))
	}
	if limit := int64(2*(2<<20) + slack + 4<<20); largest > limit {
		t.Errorf("the mirror grew to %d bytes, %d allowed", largest, limit)
	}
	fsck(t, store)
}

func diskUsage(t *testing.T, dir string) (n int64) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		n += info.Size()
		return err
	}))
	return n
}

func TestManySmallFetchesLeaveFewPacks(t *testing.T) {
	t.Parallel()
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort})
	remote := Remote{URL: srv.HTTPURL("fleet")}
	for i := range maxPacks + 10 {
		commit(t, repo, git.Change{Message: "Next", Files: map[string]string{"n": fmt.Sprint(i)}})
		rev, files := get(t, store, remote, Reference{Branch: "main"})
		check(t, repo, rev, files, "main")
	}
	packs, _ := filepath.Glob(filepath.Join(store.dir, "*/*/objects/pack/*.pack"))
	if len(packs) > maxPacks {
		t.Errorf("%d packs", len(packs))
	}
	fsck(t, store)
}

// TestTogether lets many ask for the same remote at once, while it changes: the mirror is fetched once
// for each commit.
func TestTogether(t *testing.T) {
	t.Parallel()
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort})
	monorepo(t, repo, 100)
	remote := Remote{URL: srv.HTTPURL("fleet")}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			rev, files, err := tryGet(patient(t), store, remote, Reference{Branch: "main"})
			if err != nil || len(files) < 100 || rev.Name != "main" {
				t.Errorf("%s, %d files: %v", rev, len(files), err)
			}
		})
	}
	wg.Wait()
	fetches := 0
	for _, r := range srv.Requests() {
		if r.Sent > 50<<10 {
			fetches++
		}
	}
	if fetches != 1 {
		t.Errorf("%d clones, want 1", fetches)
	}
}

func TestCredentialsDoNotShareMirrors(t *testing.T) {
	t.Parallel()
	srv, _, store := setup(t, git.Options{HTTP: git.AnyPort, Users: map[string]string{"jo": "secret"}})
	good := Remote{URL: srv.HTTPURL("fleet"), Auth: Auth{Username: "jo", Password: "secret"}}
	rev, _ := get(t, store, good, Reference{Branch: "main"})
	bad := Remote{URL: srv.HTTPURL("fleet"), Auth: Auth{Username: "jo", Password: "guess"}}
	if _, err := store.Fetch(patient(t), bad, rev); !errors.Is(err, ErrAuthentication) {
		t.Fatalf("a wrong password read the mirror of the right one: %v", err)
	}
	for _, text := range []string{"secret", "guess"} {
		must(t, filepath.WalkDir(store.dir, func(path string, _ fs.DirEntry, _ error) error {
			if strings.Contains(path, text) {
				t.Errorf("%s names a credential", path)
			}
			return nil
		}))
	}
}

func TestCollect(t *testing.T) {
	t.Parallel()
	srv, _, store := setup(t, git.Options{HTTP: git.AnyPort})
	get(t, store, Remote{URL: srv.HTTPURL("fleet")}, Reference{Branch: "main"})
	if n, err := store.Collect(time.Hour); n != 0 || err != nil {
		t.Fatalf("collected %d mirrors in use, %v", n, err)
	}
	if n, err := store.Collect(0); n != 1 || err != nil {
		t.Fatalf("collected %d idle mirrors, want 1, %v", n, err)
	}
	get(t, store, Remote{URL: srv.HTTPURL("fleet")}, Reference{Branch: "main"})
}
