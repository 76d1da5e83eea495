package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	pathpkg "path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// text is n bytes that compress about as well as YAML does, the same for the same seed.
func text(seed uint64, n int) string {
	words := []string{"apiVersion", "metadata", "name", "spec", "replicas", "containers", "image", "registry", "labels", "app", ": ", "\n  ", "- ", "prod", "staging"}
	r := rand.New(rand.NewPCG(seed, 7))
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(words[r.IntN(len(words))])
		if r.IntN(4) == 0 {
			b.WriteString(strconv.FormatUint(r.Uint64()%1e9, 36))
		}
	}
	return b.String()[:n]
}

// monorepo is a tree of n files of about size bytes in directories of ten, a hundred per team.
func monorepo(n, size int) *memTree {
	return newTree(monorepoFiles(n, size))
}

func monorepoFiles(n, size int) map[string]string {
	files := map[string]string{"README.md": "read me"}
	for i := range n {
		files[fmt.Sprintf("teams/team-%03d/app-%02d/file-%d.yaml", i/100, i/10%10, i%10)] = text(uint64(i), size/2+int(uint64(i)*7919%uint64(size)))
	}
	return files
}

func TestCostFollowsTheChange(t *testing.T) {
	t.Parallel()
	files := monorepoFiles(1000, 14_000)
	b := NewBuilder(Options{Members: members(t, 0)})
	first := newTree(files)
	_, sum := write(t, b, first, all)
	if sum.Reused != 0 || sum.Members < 20 {
		t.Fatalf("first archive: %+v", sum)
	}

	first.forget()
	if _, sum = write(t, b, first, all); sum.Reused != sum.Members-1 || len(first.opened)+len(first.size) != 0 {
		t.Errorf("the same tree again: %+v, files read: %v", sum, first.opened)
	}
	if !slices.Equal(first.listed, []string{"."}) && len(first.listed) > 0 {
		t.Errorf("the same tree again: directories read: %v", first.listed)
	}

	const changed = "teams/team-003/app-04/file-5.yaml"
	files[changed] = text(99999, 9_000)
	second := newTree(files)
	got, sum := write(t, b, second, all)
	if rebuilt := sum.Members - 1 - sum.Reused; rebuilt != 1 {
		t.Errorf("one changed file: %d members made again, want 1", rebuilt)
	}
	if len(second.opened) > 60 || len(second.size) > 15 {
		t.Errorf("one changed file: %d files read and %d sizes asked for", len(second.opened), len(second.size))
	}
	for _, dir := range second.listed {
		if strings.HasPrefix(dir, "teams/") && !strings.HasPrefix(dir, "teams/team-003") {
			t.Errorf("one changed file: directory %s was read", dir)
		}
	}
	if fresh, _ := write(t, NewBuilder(Options{}), newTree(files), all); !bytes.Equal(got, fresh) {
		t.Error("the spliced archive differs from one made afresh")
	}

	files["teams/team-003/app-00/added.yaml"] = "new: file\n"
	delete(files, "teams/team-007/app-09/file-9.yaml")
	_, sum = write(t, b, newTree(files), all)
	if rebuilt := sum.Members - 1 - sum.Reused; rebuilt > 4 {
		t.Errorf("a file added and one removed: %d members made again", rebuilt)
	}
}

// TestFlatDirectory has many files in one directory: cuts must not move when one comes or goes.
func TestFlatDirectory(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	for i := range 2000 {
		files[fmt.Sprintf("f%05d.yaml", i*3)] = text(uint64(i), 3000)
	}
	b := NewBuilder(Options{Members: members(t, 0)})
	write(t, b, newTree(files), all)
	files["f00001.yaml"] = "early"
	got, sum := write(t, b, newTree(files), all)
	if rebuilt := sum.Members - 1 - sum.Reused; rebuilt > 4 || sum.Members < 10 {
		t.Errorf("%d of %d members made again for one new file", rebuilt, sum.Members)
	}
	if fresh, _ := write(t, NewBuilder(Options{}), newTree(files), all); !bytes.Equal(got, fresh) {
		t.Error("the spliced archive differs from one made afresh")
	}
}

// TestRandomHistory holds a shared builder with a small cache against archives made afresh.
func TestRandomHistory(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	files := monorepoFiles(120, 12_000)
	shared := NewBuilder(Options{Members: members(t, 200_000)})
	specs := []string{"", "*.md\n", "/teams/team-000/app-03\n", "file-2.yaml\n!/teams/team-001\n"}
	for step := range 40 {
		paths := slices.Sorted(maps.Keys(files))
		path := paths[r.IntN(len(paths))]
		switch r.IntN(6) {
		case 0:
			delete(files, path)
		case 1:
			files[path] = text(r.Uint64(), r.IntN(900_000))
		case 2:
			files[pathpkg.Join(pathpkg.Dir(path), "new-"+itoa(int64(step)))] = text(r.Uint64(), r.IntN(3000))
		case 3:
			files[pathpkg.Join(pathpkg.Dir(path), ".sourceignore")] = "file-" + itoa(int64(r.IntN(10))) + ".yaml\n"
		default:
			files[path] = text(r.Uint64(), r.IntN(20_000))
		}
		ig := Ignore{Spec: specs[r.IntN(len(specs))], SourceIgnore: r.IntN(4) > 0, Defaults: true}
		got, _ := write(t, shared, newTree(files), ig)
		want, _ := write(t, NewBuilder(Options{}), newTree(files), ig)
		if !bytes.Equal(got, want) {
			t.Fatalf("step %d: the shared builder's archive differs from one made afresh", step)
		}
		checkMembers(t, shared.opts.Members)
	}
}

// checkMembers holds the invariants of a cache: what is listed is on disk and whole, nothing else is
// there, the sum is right and the bound is kept, and nothing is claimed between archives.
func checkMembers(t *testing.T, m *Members) {
	t.Helper()
	var bytes int64
	onDisk := 0
	must(t, filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		onDisk++
		info, err := d.Info()
		bytes += info.Size()
		return err
	}))
	if onDisk != len(m.byKey) || bytes != m.bytes || m.bytes > m.max {
		t.Errorf("%d files of %d bytes on disk, %d members of %d bytes listed, %d allowed", onDisk, bytes, len(m.byKey), m.bytes, m.max)
	}
	for _, e := range m.byKey {
		if c := e.Value.(*cached); c.claims != 0 {
			t.Errorf("%x is claimed %d times", c.key, c.claims)
		}
	}
}

func TestMembersSurviveRestartAndDamage(t *testing.T) {
	t.Parallel()
	files := monorepoFiles(300, 10_000)
	m := members(t, 0)
	want, _ := write(t, NewBuilder(Options{Members: m}), newTree(files), all)

	reopened, err := OpenMembers(m.dir, 0)
	must(t, err)
	got, sum := write(t, NewBuilder(Options{Members: reopened}), newTree(files), all)
	if sum.Reused != sum.Members-1 || !bytes.Equal(got, want) {
		t.Errorf("after a restart: %+v, equal bytes: %v", sum, bytes.Equal(got, want))
	}

	damage := []func(path string) error{
		func(path string) error { return os.Truncate(path, 0) },
		func(path string) error { return os.Truncate(path, 100) },
		func(path string) error {
			data, err := os.ReadFile(path)
			data[len(data)/2] ^= 1
			return errors.Join(err, os.WriteFile(path, data, 0o600))
		},
		os.Remove,
	}
	i := 0
	must(t, filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && i < len(damage) {
			err = damage[i](path)
			i++
		}
		return err
	}))
	must(t, os.WriteFile(filepath.Join(m.dir, "new-123"), []byte("half"), 0o600))
	reopened, err = OpenMembers(m.dir, 0)
	must(t, err)
	got, sum = write(t, NewBuilder(Options{Members: reopened}), newTree(files), all)
	if rebuilt := sum.Members - 1 - sum.Reused; rebuilt != len(damage) || !bytes.Equal(got, want) {
		t.Errorf("after damage to %d: %d made again, equal bytes: %v", len(damage), rebuilt, bytes.Equal(got, want))
	}
	checkMembers(t, reopened)
}

// TestDamageWhileRunning damages a member that was verified before: the archive fails rather than
// carry it, and the next one is right.
func TestDamageWhileRunning(t *testing.T) {
	t.Parallel()
	m := members(t, 0)
	b := NewBuilder(Options{Members: m})
	tree := monorepo(100, 10_000)
	want, _ := write(t, b, tree, all)
	for key := range m.byKey {
		must(t, os.Truncate(m.path(key), 10))
		break
	}
	var out bytes.Buffer
	if _, err := b.Write(t.Context(), &out, tree, all); err == nil {
		t.Fatal("an archive with a damaged member was written")
	}
	if got, _ := write(t, b, tree, all); !bytes.Equal(got, want) {
		t.Error("the archive after the damage differs")
	}
}

func TestFullCacheIsNoError(t *testing.T) {
	t.Parallel()
	m := members(t, 0)
	must(t, os.RemoveAll(m.dir))
	must(t, os.WriteFile(m.dir, nil, 0o600)) // nothing can be created below it
	tree := monorepo(100, 10_000)
	got, sum := write(t, NewBuilder(Options{Members: m}), tree, all)
	want, _ := write(t, NewBuilder(Options{}), tree, all)
	if !bytes.Equal(got, want) || sum.Reused != 0 {
		t.Errorf("%+v, equal bytes: %v", sum, bytes.Equal(got, want))
	}
}

func TestShrinkKeepsWhatIsClaimed(t *testing.T) {
	t.Parallel()
	m := members(t, 0)
	write(t, NewBuilder(Options{Members: m}), monorepo(200, 10_000), all)
	before := len(m.byKey)
	for key := range m.byKey {
		if !m.acquire(key) {
			t.Fatal("a member cannot be claimed")
		}
	}
	if m.shrink(); len(m.byKey) != before {
		t.Errorf("%d of %d claimed members are left", len(m.byKey), before)
	}
	for key := range m.byKey {
		m.release(key)
	}
	if m.shrink(); len(m.byKey) >= before || len(m.byKey) == 0 {
		t.Errorf("%d of %d members are left", len(m.byKey), before)
	}
	checkMembers(t, m)
}
