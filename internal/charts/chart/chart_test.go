package chart

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// dir writes files and returns their directory.
func dir(t *testing.T, files map[string]string) *os.Root {
	t.Helper()
	path := t.TempDir()
	for name, data := range files {
		full := filepath.Join(path, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o700), os.WriteFile(full, []byte(data), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

// archive packs entries as they are.
func archive(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for _, h := range headers {
		data := h.Uname // the content, for brevity
		h.Uname, h.Size, h.Mode = "", int64(len(data)), 0o644
		if h.Typeflag == tar.TypeSymlink {
			h.Size, data = 0, ""
		}
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func entry(name, data string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Uname: data}
}

// unpacked lists the entries of an archive.
func unpacked(t *testing.T, data []byte) (names []string, files map[string]string) {
	t.Helper()
	zr, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	files = map[string]string{}
	for tr := tar.NewReader(zr); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return names, files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		files[h.Name] = string(content)
	}
}

const minimal = "apiVersion: v2\nname: web\nversion: 1.2.3\n"

var web = map[string]string{
	"Chart.yaml": minimal + "home: https://example.com\nx-unknown: kept\n", "values.yaml": "replicas: 1\n", "templates/b.yaml": "b", "templates/a/z.yaml": "az",
	"templates/.hidden": "no", "crds/c.yaml": "crd", "README.md": "read", "ignored.txt": "no", ".helmignore": "ignored.txt\n", "Chart.lock": "dependencies: []\n",
	"charts/sub/Chart.yaml": "apiVersion: v2\nname: sub\nversion: 0.1.0\n", "values.schema.json": "{}",
}

// TestRecorded packs the recorded chart as upstream did, and compares entries, order and content. The recording is data
// beside the checkout; without it the test is skipped.
func TestRecorded(t *testing.T) {
	t.Parallel()
	recorded := cmp.Or(os.Getenv("FLUX_RECORDED"), "/work/shared/recorded")
	theirs, err := os.ReadFile(filepath.Join(recorded, "artifacts/files/source-controller/helmchart/flux-system/demo-git/demo-1.0.0+332f7e449656.tgz"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no recording in %s; set FLUX_RECORDED to its directory", recorded)
	}
	root, err := os.OpenRoot(filepath.Join(recorded, "inputs/fleet"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	c, err := LoadDir(root, "charts-demo", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	version, err := WithMetadata(c.Version, "332f7e449656")
	if err != nil {
		t.Fatal(err)
	}
	c.SetVersion(version)
	ours, err := c.Packed()
	if err != nil {
		t.Fatal(err)
	}
	names, files := unpacked(t, ours)
	wantNames, wantFiles := unpacked(t, theirs)
	if !slices.Equal(names, wantNames) {
		t.Errorf("entries %q, want %q", names, wantNames)
	}
	for name, want := range wantFiles {
		if files[name] != want {
			t.Errorf("%s is\n%s\nwant\n%s", name, files[name], want)
		}
	}
}

func TestPackDirectory(t *testing.T) {
	t.Parallel()
	var first []byte
	for range 3 {
		c, err := LoadDir(dir(t, web), ".", Limits{})
		if err != nil {
			t.Fatal(err)
		}
		c.SetVersion("1.2.3+5")
		c.SetValues([]byte("replicas: 2\n"))
		packed, err := c.Packed()
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = packed
		}
		if !bytes.Equal(first, packed) {
			t.Error("the same chart was packed differently")
		}
	}
	names, files := unpacked(t, first)
	want := []string{
		"web/Chart.yaml", "web/Chart.lock", "web/values.yaml", "web/values.schema.json", "web/templates/a/z.yaml", "web/templates/b.yaml",
		"web/.helmignore", "web/README.md", "web/crds/c.yaml", "web/charts/sub/Chart.yaml",
	}
	if !slices.Equal(names, want) {
		t.Errorf("entries %q, want %q", names, want)
	}
	if got := files["web/Chart.yaml"]; !strings.Contains(got, "version: 1.2.3+5\n") || !strings.Contains(got, "x-unknown: kept\n") {
		t.Errorf("Chart.yaml %s", got)
	}
	if got := files["web/values.yaml"]; got != "replicas: 2\n" {
		t.Errorf("values.yaml %s", got)
	}
	again, err := LoadArchive(bytes.NewReader(first), Limits{})
	if err != nil || again.Name != "web" || again.Version != "1.2.3+5" {
		t.Fatalf("%+v, %v", again, err)
	}
	repacked, err := again.Packed()
	if err != nil || !bytes.Equal(repacked, first) {
		t.Errorf("an archive that was loaded and packed again differs, %v", err)
	}
}

// TestGolden pins the bytes of an archive: same input, same digest, on any machine.
func TestGolden(t *testing.T) {
	t.Parallel()
	c, err := LoadDir(dir(t, web), ".", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	packed, err := c.Packed()
	if err != nil {
		t.Fatal(err)
	}
	if got := sum(packed); got != golden {
		t.Errorf("digest %s, want %s; if the format changed on purpose, charts will be packed anew", got, golden)
	}
}

func TestDependencies(t *testing.T) {
	t.Parallel()
	requirements := "dependencies:\n- {name: redis, version: 1.x, repository: https://example.com}\n"
	for _, tc := range []struct {
		reason string
		files  map[string]string
		packed string // in Chart.yaml
		keeps  bool   // requirements.yaml
	}{
		{"today's", map[string]string{"Chart.yaml": minimal + requirements, "Chart.lock": "dependencies:\n- {name: redis, version: 1.2.3}\n"}, "redis", false},
		{"those of old", map[string]string{"Chart.yaml": strings.Replace(minimal, "v2", "v1", 1), "requirements.yaml": requirements, "requirements.lock": "dependencies:\n- {name: redis, version: 1.2.3}\n"}, "", true},
		{"those of old in a chart of today", map[string]string{"Chart.yaml": minimal, "requirements.yaml": requirements, "Chart.lock": "dependencies:\n- {name: redis, version: 1.2.3}\n"}, "redis", false},
	} {
		c, err := LoadDir(dir(t, tc.files), ".", Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Dependencies) != 1 || c.Dependencies[0] != (Dependency{"redis", "1.x", "https://example.com"}) || len(c.Lock) != 1 || c.Lock[0].Version != "1.2.3" {
			t.Errorf("%s: %+v, %+v", tc.reason, c.Dependencies, c.Lock)
		}
		packed, err := c.Packed()
		if err != nil {
			t.Fatal(err)
		}
		_, files := unpacked(t, packed)
		_, keeps := files["web/requirements.yaml"]
		if !strings.Contains(files["web/Chart.yaml"], tc.packed) || keeps != tc.keeps {
			t.Errorf("%s: %v", tc.reason, files)
		}
	}
}

func TestVendored(t *testing.T) {
	t.Parallel()
	sub := archive(t, entry("redis/Chart.yaml", "apiVersion: v2\nname: redis\nversion: 1.0.0\n"))
	c, err := LoadDir(dir(t, map[string]string{
		"Chart.yaml": minimal, "charts/redis-1.0.0.tgz": string(sub), "charts/sub/Chart.yaml": "name: sub\nversion: 0.1.0\n",
		"charts/README.md": "x", "charts/_off/Chart.yaml": "name: off\n", "charts/sub/charts/inner/Chart.yaml": "name: inner\n",
	}), ".", Limits{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.Vendored(Limits{})
	slices.SortFunc(list, func(a, b Dependency) int { return strings.Compare(a.Name, b.Name) })
	if err != nil || !slices.Equal(list, []Dependency{{Name: "redis", Version: "1.0.0"}, {Name: "sub", Version: "0.1.0"}}) {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestHostileArchives: charts come from anybody who can push to a repository.
func TestHostileArchives(t *testing.T) {
	t.Parallel()
	good := entry("web/Chart.yaml", minimal)
	limits := Limits{Packed: 64 << 10, File: 1 << 10, Files: 10, Unpacked: 4 << 10}
	many := []tar.Header{good}
	for i := range 11 {
		many = append(many, entry("web/"+strings.Repeat("x", i+1), ""))
	}
	for _, tc := range []struct {
		reason string
		data   []byte
		want   error
		says   string
	}{
		{"the parent directory", archive(t, good, entry("web/../../etc/passwd", "x")), ErrNotChart, "parent directory"},
		{"the parent directory at once", archive(t, good, entry("../x", "x")), ErrNotChart, "parent directory"},
		{"the parent directory of Windows", archive(t, good, entry(`web\..\..\x`, "x")), ErrNotChart, "parent directory"},
		{"an absolute path", archive(t, good, entry("/etc/passwd", "x")), ErrNotChart, "absolute"},
		{"an absolute path below", archive(t, good, entry("web//etc/passwd", "x")), ErrNotChart, "absolute"},
		{"a drive", archive(t, good, entry("web/c:/x", "x")), ErrNotChart, "illegally named"},
		{"a file beside the directory", archive(t, good, entry("x", "x")), ErrNotChart, "outside the base directory"},
		{"Chart.yaml beside the directory", archive(t, entry("Chart.yaml", minimal)), ErrNotChart, "not in base directory"},
		{"two Chart.yaml", archive(t, good, entry("web/./Chart.yaml", minimal)), ErrNotChart, "twice"},
		{"nothing", archive(t), ErrNotChart, "no files"},
		{"no Chart.yaml", archive(t, entry("web/values.yaml", "")), ErrNotChart, "Chart.yaml file is missing"},
		{"no archive", []byte("<html><body></body></html>"), ErrNotChart, "gzip"},
		{"half an archive", archive(t, good)[:60], ErrNotChart, ""},
		{"a large file", archive(t, good, entry("web/x", strings.Repeat("x", 2<<10))), ErrLimit, "'x' has 2048 bytes"},
		{"many files", archive(t, many...), ErrLimit, "more than 10 files"},
		{"many large files", archive(t, good, entry("web/1", strings.Repeat("x", 1000)), entry("web/2", strings.Repeat("x", 1000)), entry("web/3", strings.Repeat("x", 1000)), entry("web/4", strings.Repeat("x", 1000)), entry("web/5", strings.Repeat("x", 1000))), ErrLimit, "together"},
		{"a bomb behind the end", bomb(t, archive(t, good)), ErrLimit, "together"},
		{"a name that leads out", archive(t, entry("web/Chart.yaml", "apiVersion: v2\nname: ../../x\nversion: 1.0.0\n")), ErrNotChart, "is not a name"},
		{"a version that is a path", archive(t, entry("web/Chart.yaml", "apiVersion: v2\nname: x\nversion: 1.0.0+../../x\n")), ErrNotChart, "semantic version"},
	} {
		_, err := LoadArchive(bytes.NewReader(tc.data), limits)
		if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v", tc.reason, err)
		}
	}
	if _, err := LoadArchive(bytes.NewReader(archive(t, good, entry("web/x", string(noise(4<<10))))), Limits{Packed: 2 << 10}); !errors.Is(err, ErrLimit) {
		t.Errorf("a large archive: %v", err)
	}
	link := tar.Header{Typeflag: tar.TypeSymlink, Name: "web/values.yaml", Linkname: "/etc/passwd"}
	c, err := LoadArchive(bytes.NewReader(archive(t, good, link)), limits)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadFile("values.yaml"); !errors.Is(err, ErrNoValues) {
		t.Errorf("a link was followed: %v", err)
	}
}

// bomb appends megabytes of zeros after the end of the archive, within the same gzip stream.
func bomb(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	b.Write(data)
	zw := gzip.NewWriter(&b)
	if _, err := zw.Write(make([]byte, 8<<20)); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func noise(n int) []byte {
	out := make([]byte, n)
	for i, x := 0, uint32(1); i < n; i++ {
		x = x*1664525 + 1013904223
		out[i] = byte(x >> 24)
	}
	return out
}

// TestLinksLeadNowhere: a directory comes from a repository that a tenant writes to.
func TestLinksLeadNowhere(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ reason, link, target string }{
		{"absolute", "web/values.yaml", "/etc/hostname"},
		{"relative", "web/values.yaml", "../../secret"},
		{"a directory", "web/templates", ".."},
		{"the chart itself", "web", "/etc"},
	} {
		root := dir(t, map[string]string{"other/x": "x"})
		if tc.link != "web" {
			if err := root.MkdirAll("web", 0o700); err != nil {
				t.Fatal(err)
			}
			if err := root.WriteFile("web/Chart.yaml", []byte(minimal), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(tc.target, filepath.Join(root.Name(), tc.link)); err != nil {
			t.Fatal(err)
		}
		if c, err := LoadDir(root, "web", Limits{}); err == nil {
			t.Errorf("%s: loaded %+v", tc.reason, c.files)
		}
	}
	if _, err := LoadDir(dir(t, nil), "../x", Limits{}); err == nil {
		t.Error("a directory above the root was opened")
	}
}

func TestMergeValues(t *testing.T) {
	t.Parallel()
	got, err := MergeValues([][]byte{
		[]byte("image: {tag: 1.10, name: web}\nports: [1, 2]\nbig: 12345678901234567890\nday: 2026-01-02\ngone: 1\n"),
		[]byte("image:\n  tag: \"2\"\nports: [3]\ngone: null\n"), []byte(""),
	})
	want := "big: 12345678901234567890\nday: \"2026-01-02\"\ngone: null\nimage:\n  name: web\n  tag: \"2\"\nports:\n- 3\n"
	if err != nil || string(got) != want {
		t.Errorf("merged\n%s%v\nwant\n%s", got, err, want)
	}
	if _, err := MergeValues([][]byte{[]byte("a: 1"), []byte("- list")}); err == nil || !strings.Contains(err.Error(), "values file 2 of 2") {
		t.Errorf("error %v", err)
	}
}

func TestWithMetadata(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ version, metadata, want string }{
		{"1.2.3", "5", "1.2.3+5"}, {"1.2.3+old", "0123abcd", "1.2.3+0123abcd"}, {"v1.2.3-rc.1", "a.1", "1.2.3-rc.1+a.1"}, {"1.2.3", "a/b", ""},
	} {
		if got, err := WithMetadata(tc.version, tc.metadata); got != tc.want || (err != nil) != (tc.want == "") {
			t.Errorf("%s with %s: %q, %v", tc.version, tc.metadata, got, err)
		}
	}
}

func FuzzLoadArchive(f *testing.F) {
	f.Add(archive(f, entry("web/Chart.yaml", minimal), entry("web/values.yaml", "a: 1")))
	f.Add(archive(f, entry("web/Chart.yaml", minimal), entry("web/charts/a.tgz", "x"), entry(`web\templates\x`, "")))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := LoadArchive(bytes.NewReader(data), Limits{Packed: 1 << 20, File: 1 << 16, Files: 100})
		if err != nil {
			return
		}
		for _, file := range c.files {
			if !filepath.IsLocal(file.name) {
				t.Fatalf("a chart has a file %q", file.name)
			}
		}
		packed, err := c.Packed()
		if err != nil {
			return
		}
		again, err := LoadArchive(bytes.NewReader(packed), Limits{})
		if err != nil || again.Name != c.Name || len(again.files) != len(c.files) {
			t.Fatalf("what was packed cannot be loaded: %v", err)
		}
	})
}

func sum(data []byte) string { return fmt.Sprintf("%x", sha256.Sum256(data)) }

const golden = "f8f42e643a26c761d56700509581f8dc2e41f98460d496956f9aaadfa89c74c8"
