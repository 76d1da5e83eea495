package archive

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
)

// memTree is a tree in memory that, like Git, knows the ids of its directories, and counts what is
// asked of it.
type memTree struct {
	files map[string]memFile
	dirs  map[string][]Entry
	root  string

	mu                   sync.Mutex
	opened, listed, size []string
}

type memFile struct {
	content    string
	executable bool
}

// newTree makes a tree of files; a name that ends in * is executable.
func newTree(files map[string]string) *memTree {
	t := &memTree{files: map[string]memFile{}, dirs: map[string][]Entry{".": nil}}
	for name, content := range files {
		path, executable := strings.CutSuffix(name, "*")
		t.files[path] = memFile{content, executable}
	}
	t.root = t.build(".", slices.Sorted(maps.Keys(t.files)))
	return t
}

// build makes the listing of dir from the paths below it and returns its id.
func (t *memTree) build(dir string, paths []string) string {
	below := map[string][]string{}
	var entries []Entry
	for _, path := range paths {
		rest := path
		if dir != "." {
			rest = strings.TrimPrefix(path, dir+"/")
		}
		name, _, deeper := strings.Cut(rest, "/")
		if deeper {
			below[name] = append(below[name], path)
			continue
		}
		f := t.files[path]
		e := Entry{Name: name, Kind: File, Size: -1, ID: id(f.content)}
		if f.executable {
			e.Kind = Executable
		}
		entries = append(entries, e)
	}
	for name, paths := range below {
		entries = append(entries, Entry{Name: name, Kind: Dir, Size: -1, ID: t.build(join(dir, name), paths)})
	}
	t.dirs[dir] = entries
	sorted := slices.SortedFunc(slices.Values(entries), func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return id(fmt.Sprint(sorted))
}

func id(content string) string {
	h := sha256.Sum256([]byte(content))
	return hex.EncodeToString(h[:])
}

func (t *memTree) note(list *[]string, path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*list = append(*list, path)
}

func (t *memTree) Root() string { return t.root }

func (t *memTree) ReadDir(_ context.Context, dir, _ string) ([]Entry, error) {
	t.note(&t.listed, dir)
	entries, found := t.dirs[dir]
	if !found {
		return nil, fmt.Errorf("no directory %s", dir)
	}
	return slices.Clone(entries), nil
}

func (t *memTree) Size(_ context.Context, path, _ string) (int64, error) {
	t.note(&t.size, path)
	return int64(len(t.files[path].content)), nil
}

func (t *memTree) Open(_ context.Context, path, want string) (io.ReadCloser, error) {
	t.note(&t.opened, path)
	f, found := t.files[path]
	if !found || id(f.content) != want {
		return nil, fmt.Errorf("no file %s", path)
	}
	return io.NopCloser(strings.NewReader(f.content)), nil
}

func (t *memTree) forget() {
	t.opened, t.listed, t.size = nil, nil, nil
}

func members(t testing.TB, maxBytes int64) *Members {
	t.Helper()
	m, err := OpenMembers(t.TempDir(), maxBytes)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func write(t testing.TB, b *Builder, tree Tree, ig Ignore) ([]byte, Summary) {
	t.Helper()
	var out bytes.Buffer
	s, err := b.Write(t.Context(), &out, tree, ig)
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), s
}

func gunzip(t testing.TB, data []byte) []byte {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type item struct {
	header  tar.Header
	content string
}

func untar(t testing.TB, archive []byte) []item {
	t.Helper()
	var items []item
	for r := tar.NewReader(bytes.NewReader(gunzip(t, archive))); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return items
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, item{*h, string(content)})
	}
}

func names(t testing.TB, archive []byte) []string {
	t.Helper()
	var out []string
	for _, i := range untar(t, archive) {
		out = append(out, i.header.Name)
	}
	return out
}
