package archive

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/ignore"
)

var all = Ignore{SourceIgnore: true, Defaults: true}

func TestLayout(t *testing.T) {
	t.Parallel()
	tree := newTree(map[string]string{
		"b.yaml":      "b",
		"a/x.yaml":    "x",
		"a.yaml":      "a",
		"a/run.sh*":   "#!/bin/sh\n",
		"a-b/z":       "",
		".git/config": "left out",
	})
	got, sum := write(t, NewBuilder(Options{}), tree, all)
	var lines []string
	for _, i := range untar(t, got) {
		h := i.header
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || h.ModTime.Unix() != 0 || len(h.PAXRecords) > 0 {
			t.Errorf("%s: header is not zeroed: %+v", h.Name, h)
		}
		lines = append(lines, strings.Join([]string{string(h.Typeflag), fs.FileMode(h.Mode).String(), h.Name, i.content}, " "))
	}
	want := []string{
		"5 -rwxr-x--- . ",
		"5 -rwxr-x--- a ",
		"0 -rwx------ a/run.sh #!/bin/sh\n",
		"0 -rw------- a/x.yaml x",
		"5 -rwxr-x--- a-b ",
		"0 -rw------- a-b/z ",
		"0 -rw------- a.yaml a",
		"0 -rw------- b.yaml b",
	}
	if !slices.Equal(lines, want) {
		t.Errorf("entries are\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
	if header := got[:10]; string(header) != "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" {
		t.Errorf("gzip header is %x", header)
	}
	if raw := gunzip(t, got); int64(len(raw)) != sum.Bytes || sum.Entries != len(want) {
		t.Errorf("summary %+v for %d entries and %d bytes", sum, len(want), len(raw))
	}
}

// TestGolden pins the digest: it may change only together with formatVersion and a line in
// CHANGELOG.md, because it changes the digest of every artifact in every cluster.
func TestGolden(t *testing.T) {
	t.Parallel()
	got, sum := write(t, NewBuilder(Options{}), monorepo(300, 11_000), all)
	if sum.Members < 4 {
		t.Errorf("only %d members, the golden tree should need more", sum.Members)
	}
	const want = "sha256:744226e6ab45302bd4358b3f64aa304adbda249c8d6908b4928b5fac85d9aea1"
	if d := artifact.DigestOf(artifact.SHA256, got); d != want {
		t.Errorf("digest is %s, want %s", d, want)
	}
}

func TestIgnoreRules(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"deploy/a.yaml": "a", "deploy/logo.png": "p", "docs/b.md": "b", ".gitignore": "x", "c.yaml": "c",
	}
	for _, tt := range []struct {
		reason string
		extra  map[string]string
		ig     Ignore
		want   []string
	}{
		{
			reason: "defaults",
			ig:     all,
			want:   []string{".", "c.yaml", "deploy", "deploy/a.yaml", "docs", "docs/b.md"},
		},
		{
			reason: "the caller wants no defaults",
			ig:     Ignore{SourceIgnore: true},
			want:   []string{".", "c.yaml", "deploy", "deploy/a.yaml", "deploy/logo.png", "docs", "docs/b.md"},
		},
		{
			reason: "spec switches defaults off and prunes directories",
			ig:     Ignore{SourceIgnore: true, Defaults: true, Spec: "/*\n!/deploy"},
			want:   []string{".", "deploy", "deploy/a.yaml", "deploy/logo.png"},
		},
		{
			reason: "a .sourceignore far down switches defaults off and is scoped",
			extra:  map[string]string{"docs/deep/.sourceignore": "*.txt\n", "docs/deep/n.txt": "n", "docs/n.txt": "n"},
			ig:     all,
			want: []string{".", "c.yaml", "deploy", "deploy/a.yaml", "deploy/logo.png", "docs", "docs/b.md", "docs/deep",
				"docs/deep/.sourceignore", "docs/n.txt"},
		},
		{
			reason: ".sourceignore is not honoured if the caller says so",
			extra:  map[string]string{".sourceignore": "*.yaml\n"},
			ig:     Ignore{Defaults: true},
			want:   []string{".", ".sourceignore", "c.yaml", "deploy", "deploy/a.yaml", "docs", "docs/b.md"},
		},
		{
			reason: "a directory whose files are all left out stays",
			ig:     Ignore{Spec: "*.md\n*.yaml\n*.png\n"},
			want:   []string{".", "deploy", "docs"},
		},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			merged := map[string]string{}
			for _, m := range []map[string]string{files, tt.extra} {
				for k, v := range m {
					merged[k] = v
				}
			}
			tree := newTree(merged)
			for name, b := range map[string]*Builder{"plain": NewBuilder(Options{}), "cached": NewBuilder(Options{Members: members(t, 0)})} {
				for range 2 {
					got, _ := write(t, b, tree, tt.ig)
					if n := names(t, got); !slices.Equal(n, tt.want) {
						t.Errorf("%s: got %q, want %q", name, n, tt.want)
					}
				}
			}
		})
	}
}

// badTree answers ReadDir of the root with fixed entries.
type badTree struct {
	memTree
	entries []Entry
	content io.Reader
}

func (t *badTree) Root() string { return "" }

func (t *badTree) ReadDir(_ context.Context, dir, _ string) ([]Entry, error) {
	if dir == "." || t.content == nil {
		return slices.Clone(t.entries), nil
	}
	return nil, nil
}

func (t *badTree) Open(context.Context, string, string) (io.ReadCloser, error) {
	return io.NopCloser(t.content), nil
}

func TestHostileTrees(t *testing.T) {
	t.Parallel()
	file := func(names ...string) (entries []Entry) {
		for _, n := range names {
			entries = append(entries, Entry{Name: n, Kind: File, Size: 4, ID: "1"})
		}
		return entries
	}
	for _, tt := range []struct {
		reason string
		tree   *badTree
		opts   Options
		ig     Ignore
		want   string
		is     error
	}{
		{reason: "parent", tree: &badTree{entries: file("..")}, want: `invalid name ".."`},
		{reason: "slash", tree: &badTree{entries: file("a/../../b")}, want: `invalid name "a/../../b"`},
		{reason: "NUL", tree: &badTree{entries: file("a\x00b")}, want: `invalid name "a\x00b"`},
		{reason: "empty", tree: &badTree{entries: file("")}, want: `invalid name ""`},
		{reason: "twice", tree: &badTree{entries: file("a", "a")}, want: "two entries named 'a'"},
		{reason: "endless depth", tree: &badTree{entries: []Entry{{Name: "d", Kind: Dir}}}, want: "'d/d/d/", is: ErrLimit},
		{reason: "too many", tree: &badTree{entries: file("a", "b")}, opts: Options{MaxEntries: 2}, want: "more than 2 entries at 'b'", is: ErrLimit},
		{reason: "too large", tree: &badTree{entries: file("a", "b")}, opts: Options{MaxBytes: 1600}, want: "more than 1600 bytes uncompressed at 'b'", is: ErrLimit},
		{reason: "longer than said", tree: &badTree{entries: file("a"), content: strings.NewReader("12345")}, want: "'a' is not 4 bytes long"},
		{reason: "shorter than said", tree: &badTree{entries: file("a"), content: strings.NewReader("123")}, want: "'a' is not 4 bytes long"},
		{reason: "huge ignore file", tree: &badTree{entries: file(".sourceignore"), content: strings.NewReader(strings.Repeat("a\n", 1<<20))}, ig: all, want: ".sourceignore", is: ignore.ErrLimit},
		{reason: "huge spec", tree: &badTree{}, ig: Ignore{Spec: strings.Repeat("a\n", 1<<20)}, want: "spec.ignore", is: ignore.ErrLimit},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			_, err := NewBuilder(tt.opts).Write(t.Context(), io.Discard, tt.tree, tt.ig)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v is not %v", err, tt.is)
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := NewBuilder(Options{}).Write(ctx, io.Discard, newTree(map[string]string{"a": "b"}), all)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestDirOnDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(outside, []byte("secret"), 0o600))
	must(t, os.MkdirAll(filepath.Join(dir, "a", "empty"), 0o700))
	must(t, os.WriteFile(filepath.Join(dir, "a", "run"), []byte("r"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "f"), []byte("f"), 0o644))
	must(t, os.Symlink(outside, filepath.Join(dir, "link")))
	must(t, os.Symlink("a", filepath.Join(dir, "inside")))
	tree, err := OpenDir(dir)
	must(t, err)
	defer tree.Close() //nolint:errcheck // read only
	got, _ := write(t, NewBuilder(Options{}), tree, all)
	if n := names(t, got); !slices.Equal(n, []string{".", "a", "a/empty", "a/run", "f"}) {
		t.Errorf("got %q; links are left out, empty directories are not", n)
	}
	inMemory, _ := write(t, NewBuilder(Options{}), newTree(map[string]string{"a/run*": "r", "f": "f"}), all)
	must(t, os.Remove(filepath.Join(dir, "a", "empty")))
	if got, _ = write(t, NewBuilder(Options{}), tree, all); string(got) != string(inMemory) {
		t.Error("a directory and another tree of the same content give different archives")
	}

	r, err := tree.Open(t.Context(), "f", id("other"))
	must(t, err)
	if _, err := io.ReadAll(r); err == nil {
		t.Error("a file that changed since it was listed is read without an error")
	}
	if _, err := tree.Open(t.Context(), "link", ""); err == nil {
		t.Error("a link out of the directory is followed")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestOtherReaders reads an archive of several members, long and foreign names with the tools that
// are installed.
func TestOtherReaders(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"ä/größe.yaml":                                               "ü",
		strings.Repeat("long/", 30) + "name.yaml":                    "l",
		strings.Repeat(strings.Repeat("very-", 20)+"long/", 3) + "n": "v",
	}
	for p, f := range monorepo(200, 5_000).files {
		files[p] = f.content
	}
	got, sum := write(t, NewBuilder(Options{}), newTree(files), all)
	if sum.Members < 3 {
		t.Fatalf("%d members", sum.Members)
	}
	file := filepath.Join(t.TempDir(), "a.tar.gz")
	must(t, os.WriteFile(file, got, 0o600))
	want := names(t, got)
	const script = `
import sys, tarfile, gzip
raw = gzip.open(sys.argv[1]).read()
with tarfile.open(sys.argv[1]) as t:
    for m in t: print(m.name)
assert len(raw) == int(sys.argv[2]), len(raw)
`
	for name, args := range map[string][]string{
		"tar":     {"--quoting-style=literal", "-tzf", file},
		"python3": {"-c", script, file, itoa(int64(len(gunzip(t, got))))},
		"bsdtar":  {"-tzf", file},
	} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Logf("%s is not installed", name)
			continue
		}
		cmd := exec.Command(path, args...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "PYTHONUTF8=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
			continue
		}
		listed := strings.Split(strings.ReplaceAll(strings.TrimSpace(string(out)), "/\n", "\n"), "\n")
		for i := range listed {
			listed[i] = strings.TrimPrefix(listed[i], "./")
		}
		if !slices.Equal(listed, want) {
			t.Errorf("%s lists %d entries, want %d", name, len(listed), len(want))
		}
	}
}
