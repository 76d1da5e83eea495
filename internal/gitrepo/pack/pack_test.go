package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitops-toolkit/flux/test/servers/git"
)

// history makes a repository whose packs have deltas of deltas, a large blob, and long lines.
func history(t testing.TB) *git.Repo {
	t.Helper()
	repo, err := git.Create(t.TempDir(), "r", "main")
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	text := func(n int) string {
		var b strings.Builder
		for range n {
			fmt.Fprintf(&b, "key-%d: %d\n", rnd.IntN(50), rnd.Int())
		}
		return b.String()
	}
	files := map[string]string{}
	for i := range 200 {
		files[fmt.Sprintf("dir%d/file%d.yaml", i%7, i)] = text(30)
	}
	big := make([]byte, 3<<20)
	for i := range big {
		big[i] = byte(rnd.Int())
	}
	files["big.bin"] = string(big)
	if _, err := repo.Commit(files, "Begin"); err != nil {
		t.Fatal(err)
	}
	for i := range 15 {
		path := fmt.Sprintf("dir%d/file%d.yaml", i%7, i)
		files[path] += text(1)
		if _, err := repo.Commit(map[string]string{path: files[path]}, "Change"); err != nil {
			t.Fatal(err)
		}
	}
	return repo
}

// packOf packs what the revisions reach; `^x` excludes.
func packOf(t testing.TB, repo *git.Repo, thin bool, revs ...string) []byte {
	t.Helper()
	args := []string{"pack-objects", "--revs", "--stdout", "-q", "--delta-base-offset"}
	if thin {
		args = append(args, "--thin")
	}
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = repo.Dir, strings.NewReader(strings.Join(revs, "\n")+"\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func open(t testing.TB, dir string, limits Limits) *DB {
	t.Helper()
	db, err := Open(dir, limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// same checks that every object that the revision reaches reads as git reads it.
func same(t *testing.T, db *DB, repo *git.Repo, rev string) {
	t.Helper()
	list, err := repo.Git(nil, "rev-list", "--objects", "--no-object-names", rev)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields(list) {
		typ, data, err := db.Get(plumbing.NewHash(name))
		if err != nil {
			t.Fatal(err)
		}
		if got := plumbing.ComputeHash(typ, data); got.String() != name {
			t.Fatalf("object %s reads as %s", name, got)
		}
		_, size, r, err := db.Open(plumbing.NewHash(name))
		if err != nil {
			t.Fatal(err)
		}
		streamed, err := io.ReadAll(r)
		_ = r.Close()
		if err != nil || int64(len(streamed)) != size || !bytes.Equal(streamed, data) {
			t.Fatalf("object %s streams %d bytes of %d: %v", name, len(streamed), size, err)
		}
	}
}

// verify lets git check the packs.
func verify(t *testing.T, dir string) {
	t.Helper()
	packs, _ := filepath.Glob(filepath.Join(dir, "objects/pack/*.idx"))
	for _, p := range packs {
		if out, err := exec.Command("git", "verify-pack", p).CombinedOutput(); err != nil {
			t.Fatalf("git verify-pack: %v\n%s", err, out)
		}
	}
}

func TestReceiveWholeAndThin(t *testing.T) {
	t.Parallel()
	repo := history(t)
	dir := t.TempDir()
	db := open(t, dir, DefaultLimits)
	ctx := context.Background()
	if _, err := db.Receive(ctx, bytes.NewReader(packOf(t, repo, false, "main~10"))); err != nil {
		t.Fatal(err)
	}
	same(t, db, repo, "main~10")
	for _, step := range [][]string{{"main~5", "^main~10"}, {"main", "^main~5"}} {
		thin := packOf(t, repo, true, step...)
		got, err := db.Receive(ctx, bytes.NewReader(thin))
		if err != nil {
			t.Fatal(err)
		}
		if got.Bytes != int64(len(thin)) || got.Objects == 0 {
			t.Fatalf("Receive says %+v of a pack of %d bytes", got, len(thin))
		}
	}
	same(t, db, repo, "main")
	verify(t, dir)
	same(t, open(t, dir, DefaultLimits), repo, "main") // a DB opened anew finds the same
}

func TestCompact(t *testing.T) {
	t.Parallel()
	repo := history(t)
	dir := t.TempDir()
	db := open(t, dir, DefaultLimits)
	for _, step := range [][]string{{"main~10"}, {"main~5", "^main~10"}, {"main~2", "^main~5"}, {"main", "^main~2"}} {
		if _, err := db.Receive(context.Background(), bytes.NewReader(packOf(t, repo, true, step...))); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Compact(1 << 20); err != nil {
		t.Fatal(err)
	}
	if db.Packs() != 2 {
		t.Fatalf("%d packs after joining the small ones, want 2", db.Packs())
	}
	same(t, db, repo, "main")
	verify(t, dir)
	if err := db.Compact(1 << 40); err != nil {
		t.Fatal(err)
	}
	same(t, db, repo, "main")
	if err := db.Compact(1 << 40); err != nil || db.Packs() != 1 {
		t.Fatalf("%d packs after joining all: %v", db.Packs(), err)
	}
}

func TestSmallCacheStillResolves(t *testing.T) {
	t.Parallel()
	repo := history(t)
	limits := DefaultLimits
	limits.CacheBytes = 1 << 10
	db := open(t, t.TempDir(), limits)
	if _, err := db.Receive(context.Background(), bytes.NewReader(packOf(t, repo, false, "main"))); err != nil {
		t.Fatal(err)
	}
	same(t, db, repo, "main")
}

func TestEmptyPackAddsNothing(t *testing.T) {
	t.Parallel()
	repo := history(t)
	db := open(t, t.TempDir(), DefaultLimits)
	got, err := db.Receive(context.Background(), bytes.NewReader(packOf(t, repo, false, "main", "^main")))
	if err != nil || got.Objects != 0 || db.Packs() != 0 {
		t.Fatalf("%+v, %d packs, %v", got, db.Packs(), err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	pack := packOf(t, history(t), false, "main")
	for name, change := range map[string]func(*Limits){
		"objects in a pack":        func(l *Limits) { l.Objects = 10 },
		"bytes of a pack":          func(l *Limits) { l.PackBytes = 1 << 20 },
		"inflated bytes of a pack": func(l *Limits) { l.InflatedBytes = 1 << 20 },
		"bytes of a delta":         func(l *Limits) { l.ObjectBytes = 100 },
	} {
		limits := DefaultLimits
		change(&limits)
		dir := t.TempDir()
		db := open(t, dir, limits)
		if _, err := db.Receive(context.Background(), bytes.NewReader(pack)); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v, want ErrLimit", name, err)
		}
		if left, _ := os.ReadDir(filepath.Join(dir, "objects/pack")); len(left) != 0 {
			t.Errorf("%s: %d files left behind", name, len(left))
		}
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	db := open(t, t.TempDir(), DefaultLimits)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := db.Receive(ctx, bytes.NewReader(packOf(t, history(t), false, "main"))); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, want context.Canceled", err)
	}
}

func TestBrokenWayIsNoCorruption(t *testing.T) {
	t.Parallel()
	db := open(t, t.TempDir(), DefaultLimits)
	pack := packOf(t, history(t), false, "main")
	broken := errors.New("connection reset")
	r := io.MultiReader(bytes.NewReader(pack[:len(pack)/2]), iotest.ErrReader(broken))
	if _, err := db.Receive(context.Background(), r); !errors.Is(err, broken) || errors.Is(err, ErrCorrupt) {
		t.Fatalf("%v, want only %v", err, broken)
	}
}

// TestFullDiskIsNoCorruption writes to a file that takes nothing: the mirror must not be given up for that.
func TestFullDiskIsNoCorruption(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "full")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	full, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	in := &incoming{db: open(t, t.TempDir(), DefaultLimits), ctx: context.Background(), tmp: full, file: &file{data: full}}
	_, err = in.receive(bytes.NewReader(packOf(t, history(t), false, "main")))
	if !errors.Is(err, syscall.EBADF) || errors.Is(err, ErrCorrupt) {
		t.Fatalf("%v, want only %v", err, syscall.EBADF)
	}
}

func TestThinPackWithoutItsBase(t *testing.T) {
	t.Parallel()
	repo := history(t)
	db := open(t, t.TempDir(), DefaultLimits)
	_, err := db.Receive(context.Background(), bytes.NewReader(packOf(t, repo, true, "main", "^main~1")))
	if !errors.Is(err, ErrCorrupt) {
		t.Fatalf("%v, want ErrCorrupt", err)
	}
}

func TestDamage(t *testing.T) {
	t.Parallel()
	repo := history(t)
	pack := packOf(t, repo, false, "main~14")
	dir := t.TempDir()
	db := open(t, dir, DefaultLimits)
	if _, err := db.Receive(context.Background(), bytes.NewReader(pack)); err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		bad := bytes.Clone(pack)
		bad[rnd.IntN(len(bad))] ^= byte(1 + rnd.IntN(255))
		if _, err := db.Receive(context.Background(), bytes.NewReader(bad)); err == nil {
			t.Fatal("a damaged pack was taken")
		}
	}
	for _, ext := range []string{".idx", ".pack"} {
		files, _ := filepath.Glob(filepath.Join(dir, "objects/pack/*"+ext))
		data, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 0xff
		other := t.TempDir()
		if err := os.CopyFS(other, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(other, "objects/pack", filepath.Base(files[0])), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := readAll(other, repo); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a damaged %s: %v, want ErrCorrupt", ext, err)
		}
	}
}

func readAll(dir string, repo *git.Repo) error {
	db, err := Open(dir, DefaultLimits)
	if err != nil {
		return err
	}
	defer db.Close()
	list, _ := repo.Git(nil, "rev-list", "--objects", "--no-object-names", "main~14")
	for _, name := range strings.Fields(list) {
		if _, _, err := db.Get(plumbing.NewHash(name)); err != nil {
			return err
		}
	}
	return nil
}

func FuzzReceive(f *testing.F) {
	repo, err := git.Create(f.TempDir(), "r", "main")
	if err != nil {
		f.Fatal(err)
	}
	for i := range 3 {
		if _, err := repo.Commit(map[string]string{"a": strings.Repeat("line\n", 50+i)}, "x"); err != nil {
			f.Fatal(err)
		}
	}
	f.Add(packOf(f, repo, false, "main"))
	f.Add(packOf(f, repo, true, "main", "^main~1"))
	limits := Limits{Objects: 1000, PackBytes: 1 << 20, InflatedBytes: 1 << 20, ObjectBytes: 1 << 16, CacheBytes: 1 << 16}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, data []byte) {
		db, err := Open(dir, limits)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		_, _ = db.Receive(context.Background(), bytes.NewReader(data))
	})
}

func FuzzPatch(f *testing.F) {
	f.Add([]byte("hello world"), []byte{11, 5, 0x90, 5})
	f.Fuzz(func(t *testing.T, base, delta []byte) {
		if out, err := patch(base, delta, 1<<16); err == nil && len(out) > 1<<16 {
			t.Fatalf("%d bytes", len(out))
		}
	})
}
