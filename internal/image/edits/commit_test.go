package edits_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/image/edits"
	"github.com/gitops-toolkit/flux/internal/image/setters"
	"github.com/gitops-toolkit/flux/internal/image/setters/setterstest"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func lookup(namespace, policy string) (setters.Image, bool) {
	i, ok := setterstest.Images[namespace+"/"+policy]
	return setters.Image(i), ok
}

// fleet is a repository of random files: what is in each now, and what a commit has to make of it.
type fleet struct{ before, after map[string]string }

// names of files that are looked at, and of some that are not.
var yamlNames, otherNames = []string{"a.yaml", "b.yml", "Kustomization", "c d.yaml", "ü.yaml"}, []string{"a.json", "kustomization", "README.md", ".yaml.bak"}

func randomFleet(seed uint64, files int) fleet {
	r := rand.New(rand.NewPCG(seed, 1))
	f := fleet{before: map[string]string{}, after: map[string]string{}}
	for i := range files {
		dir, names, apply := fmt.Sprintf("apps/d%d/e%d", i%7, i), yamlNames, true
		switch r.IntN(8) {
		case 0:
			names, apply = otherNames, false
		case 1:
			dir, apply = fmt.Sprintf("other/d%d", i), false // not below the path
		}
		name := dir + "/" + names[r.IntN(len(names))]
		file := setterstest.Random(r.Uint64())
		f.before[name], f.after[name] = file.Before, file.Before
		if apply {
			f.after[name] = file.After
		}
	}
	bad := "a: [ " + setterstest.Marker("ns:app") + "\n"
	f.before["apps/bad.yaml"], f.after["apps/bad.yaml"] = bad, bad
	return f
}

func serverAndStore(t *testing.T) (*git.Server, *gitrepo.Store) {
	t.Helper()
	srv, err := git.Start(git.Options{Root: t.TempDir(), HTTP: git.AnyPort})
	must(t, err)
	t.Cleanup(func() { _ = srv.Close() })
	store, err := gitrepo.NewStore(t.TempDir(), gitrepo.Options{})
	must(t, err)
	t.Cleanup(func() { _ = store.Close() })
	return srv, store
}

// TestACommitTouchesOnlyMarkedValues makes real commits in real repositories. What git says of them is held, byte for byte,
// against what the author of the files knows.
func TestACommitTouchesOnlyMarkedValues(t *testing.T) {
	t.Parallel()
	srv, store := serverAndStore(t)
	finder := &edits.Finder{}
	for seed := range uint64(5) {
		name := fmt.Sprintf("fleet%d", seed)
		repo, err := srv.Create(name, "main")
		must(t, err)
		f := randomFleet(seed, 80)
		old, err := repo.Commit(f.before, "Begin")
		must(t, err)
		run := func(args ...string) string {
			t.Helper()
			out, err := repo.Git(nil, args...)
			must(t, err)
			return out
		}
		commitUpdates(t, store, gitrepo.Remote{URL: srv.HTTPURL(name)}, finder)
		run("fsck", "--strict", "--full")
		if got := run("rev-list", "--count", old+"..main"); got != "1" {
			t.Fatalf("%s: %s commits", name, got)
		}
		dir := t.TempDir()
		run("-c", "core.autocrlf=false", "--work-tree="+dir, "checkout", "--force", "main")
		var changed []string
		for file, want := range f.after {
			got, err := os.ReadFile(filepath.Join(dir, file))
			must(t, err)
			if string(got) != want {
				t.Errorf("%s: %s: got\n%q\nwant\n%q", name, file, got, want)
			}
			if want != f.before[file] {
				changed = append(changed, file)
			}
		}
		slices.Sort(changed)
		if got := strings.Fields(run("-c", "core.quotePath=false", "diff", "--name-only", old, "main")); len(changed) == 0 || strings.Join(got, " ") != strings.Join(changed, " ") {
			t.Errorf("%s: the commit changes\n%q\nwant\n%q", name, got, changed)
		}
		if got := run("diff", "--summary", old, "main"); got != "" {
			t.Errorf("%s: the commit does more than change content: %s", name, got)
		}
	}
}

// commitUpdates does what an automation does, and then sees that there is nothing left to do.
func commitUpdates(t *testing.T, store *gitrepo.Store, remote gitrepo.Remote, finder *edits.Finder) {
	t.Helper()
	ctx := context.Background()
	plan := func() (*gitrepo.Snapshot, edits.Plan) {
		snap, err := store.FetchBranch(ctx, remote, "main")
		must(t, err)
		t.Cleanup(snap.Close)
		p, err := finder.Plan(ctx, snap, "./apps", lookup)
		must(t, err)
		return snap, p
	}
	snap, p := plan()
	if len(p.Skipped) != 1 || p.Skipped[0].File != "bad.yaml" {
		t.Errorf("skipped %+v", p.Skipped)
	}
	commit, err := gitrepo.Draft{Base: snap, Edits: p.Edits, Message: "Update", Author: gitrepo.Person{Name: "bot", When: time.Now()}}.Make()
	must(t, err)
	must(t, store.Push(ctx, remote, commit, []gitrepo.Update{{Ref: "refs/heads/main", Old: snap.Revision().Commit}}))
	snap, p = plan()
	if len(p.Edits) != 0 {
		t.Errorf("a second run would change %+v", p.Changes)
	}
	if _, err := (gitrepo.Draft{Base: snap, Edits: p.Edits, Message: "Again"}).Make(); !errors.Is(err, gitrepo.ErrNoChange) {
		t.Errorf("a second commit: %v", err)
	}
}

// TestLargeFiles are told if they have markers, and otherwise passed over.
func TestLargeFiles(t *testing.T) {
	t.Parallel()
	srv, store := serverAndStore(t)
	repo, err := srv.Create("fleet", "main")
	must(t, err)
	large := string(bytes.Repeat([]byte("# a line of no meaning\n"), 17<<20/23+1))
	many := strings.Repeat("- image: x:1 "+setterstest.Marker("ns:num")+"\n", 2000)
	_, err = repo.Commit(map[string]string{
		"marked.yaml": large + "image: x " + setterstest.Marker("ns:app") + "\n", "plain.yaml": large, "many.yaml": many,
	}, "Large files")
	must(t, err)
	snap, err := store.FetchBranch(context.Background(), gitrepo.Remote{URL: srv.HTTPURL("fleet")}, "main")
	must(t, err)
	t.Cleanup(snap.Close)
	p, err := new(edits.Finder).Plan(context.Background(), snap, "", lookup)
	must(t, err)
	if len(p.Skipped) != 1 || p.Skipped[0].File != "marked.yaml" || !strings.Contains(p.Skipped[0].Why, "larger than 16 MiB; split it") {
		t.Errorf("skipped %+v", p.Skipped)
	}
	if len(p.Edits) != 1 || string(p.Edits[0].Content) != strings.ReplaceAll(many, "x:1", "app:1.20") {
		t.Errorf("%d edits", len(p.Edits))
	}
	p, err = new(edits.Finder).Plan(context.Background(), snap, "./many.yaml", lookup) // One file, which is told by its name.
	must(t, err)
	if len(p.Edits) != 1 || p.Edits[0].Path != "many.yaml" || p.Changes[0].File != "many.yaml" {
		t.Errorf("the edits of one file: %d, of '%s'", len(p.Edits), p.Changes[0].File)
	}
}
