package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// ErrPath is wrapped by errors about a path that no file of an archive can have.
var ErrPath = errors.New("not a path inside an artifact")

// ListFile is a file of a ListTree.
type ListFile struct {
	Executable bool
	Size       int64
	// ID names the content, as in Entry.
	ID string
	// Open returns the content.
	Open func() (io.ReadCloser, error)
}

// ListTree is a Tree made of single files, wherever they come from. It is filled, and then archived.
type ListTree struct {
	dirs  map[string]map[string]Entry
	files map[string]ListFile
}

// NewListTree returns an empty tree.
func NewListTree() *ListTree {
	return &ListTree{dirs: map[string]map[string]Entry{".": {}}, files: map[string]ListFile{}}
}

// CleanPath returns the slash path that a name stands for: without leading, trailing and double slashes and dots. A name
// that leads elsewhere, or cannot be one of a file, is an error.
func CleanPath(name string) (string, error) {
	bad := func(why string) (string, error) { return "", fmt.Errorf("%w: %q %s", ErrPath, name, why) }
	switch {
	case len(name) > maxPath:
		return bad("is too long")
	case strings.ContainsRune(name, 0):
		return bad("holds a NUL")
	case slices.Contains(strings.Split(name, "/"), ".."):
		return bad("holds '..'")
	}
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	if clean == "" {
		return bad("names no file")
	}
	for _, part := range strings.Split(clean, "/") {
		if len(part) > 255 {
			return bad("has a part of more than 255 bytes")
		}
	}
	return clean, nil
}

// Add puts a file at a clean path, in place of one that is there. Where there is a directory, or a file is in the way of
// one, it is an error.
func (t *ListTree) Add(name string, f ListFile) error {
	if _, found := t.dirs[name]; found {
		return fmt.Errorf("%w: %q is a directory already", ErrPath, name)
	}
	if err := t.AddDir(path.Dir(name)); err != nil {
		return err
	}
	kind := File
	if f.Executable {
		kind = Executable
	}
	t.dirs[path.Dir(name)][path.Base(name)] = Entry{Name: path.Base(name), Kind: kind, Size: f.Size, ID: f.ID}
	t.files[name] = f
	return nil
}

// AddDir makes sure that there is a directory at a clean path, or at ".".
func (t *ListTree) AddDir(name string) error {
	if _, found := t.dirs[name]; found {
		return nil
	}
	if _, found := t.files[name]; found {
		return fmt.Errorf("%w: %q is a file already", ErrPath, name)
	}
	if err := t.AddDir(path.Dir(name)); err != nil {
		return err
	}
	t.dirs[path.Dir(name)][path.Base(name)] = Entry{Name: path.Base(name), Kind: Dir}
	t.dirs[name] = map[string]Entry{}
	return nil
}

// IsDir tells whether there is a directory at a clean path.
func (t *ListTree) IsDir(name string) bool { return t.dirs[name] != nil }

// File returns the file at a clean path.
func (t *ListTree) File(name string) (ListFile, bool) {
	f, found := t.files[name]
	return f, found
}

// Paths returns the paths of all files, sorted.
func (t *ListTree) Paths() []string {
	out := make([]string, 0, len(t.files))
	for name := range t.files {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// Dirs returns the paths of all directories but the root, sorted.
func (t *ListTree) Dirs() []string {
	out := make([]string, 0, len(t.dirs))
	for name := range t.dirs {
		if name != "." {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Root implements Tree; a list does not know its content by one name.
func (t *ListTree) Root() string { return "" }

// ReadDir implements Tree.
func (t *ListTree) ReadDir(_ context.Context, dir, _ string) ([]Entry, error) {
	out := make([]Entry, 0, len(t.dirs[dir]))
	for _, e := range t.dirs[dir] {
		out = append(out, e)
	}
	return out, nil
}

// Size implements Tree.
func (t *ListTree) Size(_ context.Context, name, _ string) (int64, error) {
	return t.files[name].Size, nil
}

// Open implements Tree.
func (t *ListTree) Open(_ context.Context, name, _ string) (io.ReadCloser, error) {
	return t.files[name].Open()
}
