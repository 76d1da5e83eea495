package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// DefaultMount is where an artifact appears in paths and messages, unless [Options.Mount] says otherwise.
const DefaultMount = "/artifact"

// maxLinks is how many links one path may lead through, as in the kernel.
const maxLinks = 40

var errReadOnly = errors.New("the file system of a build is read-only")

// OutsideError says that a path leads out of the artifact.
type OutsideError struct{ Path string }

func (e *OutsideError) Error() string {
	return fmt.Sprintf("path '%s' leads out of the artifact", e.Path)
}

// mount is one directory tree that a build sees.
type mount struct {
	prefix string
	root   *os.Root
}

// fileSystem is all that kustomize sees: the artifact below its mount point, fetched remote bases below theirs, and
// files in memory over both. It is read-only for kustomize, refuses to leave its mounts, and enforces the limits.
// It serves one build, one goroutine at a time.
type fileSystem struct {
	ctx     context.Context
	limits  Limits
	mounts  []mount
	overlay map[string][]byte
	record  *recorder
	inspect func(path string, content []byte) ([]byte, error) // sees each file of the artifact before kustomize

	plain   map[string]bool // directories of mounts that no link leads to, which never changes
	reads   int
	bytes   int64
	refused error // the first error that kustomize must not take for a missing file
}

var _ filesys.FileSystem = (*fileSystem)(nil)

func newFileSystem(ctx context.Context, limits Limits, prefix string, root *os.Root) *fileSystem {
	return &fileSystem{
		ctx:     ctx,
		limits:  limits,
		mounts:  []mount{{prefix: prefix, root: root}},
		overlay: map[string][]byte{},
		plain:   map[string]bool{},
		record:  &recorder{},
	}
}

// step accounts for one access.
func (f *fileSystem) step() error {
	if err := context.Cause(f.ctx); err != nil {
		return f.refuse(err)
	}
	if f.reads++; f.reads > f.limits.Reads {
		return f.refuse(fmt.Errorf("the build reads more than %d files and directories", f.limits.Reads))
	}
	return nil
}

// refuse keeps the first error that ends the build whatever kustomize makes of it.
func (f *fileSystem) refuse(err error) error {
	if f.refused == nil && !errors.Is(err, errNeedsExclusive) {
		f.refused = err
	}
	return err
}

// locate finds the mount of an absolute, clean path, and the path in it ("." for the mount point).
func (f *fileSystem) locate(name string) (mount, string, error) {
	for _, m := range f.mounts {
		if name == m.prefix {
			return m, ".", nil
		}
		if rest, ok := strings.CutPrefix(name, m.prefix+"/"); ok {
			return m, rest, nil
		}
	}
	return mount{}, "", &OutsideError{Path: name}
}

// resolve follows the links of a path and returns the absolute path of what it names, which exists.
func (f *fileSystem) resolve(name string) (string, fs.FileInfo, error) {
	name = path.Clean(name)
	if !path.IsAbs(name) {
		name = path.Join(f.mounts[0].prefix, name)
	}
	for range maxLinks {
		next, info, err := f.resolveOne(name)
		if err != nil || info != nil {
			return next, info, err
		}
		name = next
	}
	return "", nil, &fs.PathError{Op: "stat", Path: name, Err: errors.New("too many links")}
}

// resolveOne walks down a path to its first link and returns the path with that link replaced and no info; without
// a link on the way, it returns the path itself and what is there.
func (f *fileSystem) resolveOne(name string) (string, fs.FileInfo, error) {
	m, rest, err := f.locate(name)
	if err != nil {
		return "", nil, err
	}
	parts := strings.Split(rest, "/")
	first := 0
	if len(parts) > 1 && f.plain[path.Dir(name)] {
		first = len(parts) - 1
	}
	var info fs.FileInfo
	for i := first; i < len(parts); i++ {
		at := path.Join(parts[:i+1]...)
		if info, err = m.root.Lstat(at); err != nil {
			return "", nil, &fs.PathError{Op: "stat", Path: name, Err: underlying(err)}
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		target, err := m.root.Readlink(at)
		if err != nil {
			return "", nil, &fs.PathError{Op: "readlink", Path: name, Err: underlying(err)}
		}
		if path.IsAbs(target) {
			return "", nil, fmt.Errorf("link '%s': %w", path.Join(m.prefix, at), &OutsideError{Path: target})
		}
		next := path.Join(m.prefix, path.Dir(at), target, path.Join(parts[i+1:]...))
		if _, _, err := f.locate(next); err != nil {
			return "", nil, fmt.Errorf("link '%s': %w", path.Join(m.prefix, at), err)
		}
		return next, nil, nil
	}
	f.plain[path.Dir(name)] = true
	return name, info, nil
}

// underlying strips the path of an os.Root error, which is relative to the root and so misleading.
func underlying(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// CleanedAbs resolves a path to a directory without links and, when it names a file, the file's name.
func (f *fileSystem) CleanedAbs(name string) (filesys.ConfirmedDir, string, error) {
	if err := f.step(); err != nil {
		return "", "", err
	}
	if f.overlaid(name) {
		return filesys.ConfirmedDir(path.Clean(name)), "", nil
	}
	clean, info, err := f.resolve(name)
	f.record.resolved(name, clean, info, err)
	if err != nil {
		return "", "", err
	}
	if info.IsDir() {
		return filesys.ConfirmedDir(clean), "", nil
	}
	return filesys.ConfirmedDir(path.Dir(clean)), path.Base(clean), nil
}

// overlaid reports whether a directory exists only because of a kustomization.yaml in the overlay.
func (f *fileSystem) overlaid(name string) bool {
	_, ok := f.overlay[path.Join(name, konfig.DefaultKustomizationFileName())]
	return ok && strings.HasPrefix(name, groupMount+"/")
}

// ReadFile returns a file of the overlay, or a regular file of a mount.
func (f *fileSystem) ReadFile(name string) ([]byte, error) {
	if content, ok := f.overlay[path.Clean(name)]; ok {
		return content, f.step()
	}
	content, _, err := f.readRaw(name)
	if err != nil {
		return nil, err
	}
	return f.check(path.Clean(name), content)
}

// readRaw returns a file of a mount as it is, and the digest under which it was recorded.
func (f *fileSystem) readRaw(name string) ([]byte, [sha256.Size]byte, error) {
	if err := f.step(); err != nil {
		return nil, [sha256.Size]byte{}, err
	}
	name = path.Clean(name)
	content, err := f.readMounted(name)
	return content, f.record.read(name, content, err), err
}

// check looks at the content of a file before kustomize does.
func (f *fileSystem) check(name string, content []byte) ([]byte, error) {
	if err := f.limits.checkYAML(content); err != nil {
		return nil, f.refuse(fmt.Errorf("file '%s': %w", name, err))
	}
	if f.inspect == nil {
		return content, nil
	}
	content, err := f.inspect(name, content)
	if err != nil {
		return nil, f.refuse(err)
	}
	return content, nil
}

func (f *fileSystem) readMounted(name string) ([]byte, error) {
	clean, info, err := f.resolve(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	if info.Size() > f.limits.FileSize {
		return nil, f.refuse(fmt.Errorf("file '%s' has %d bytes, more than the limit of %d", name, info.Size(), f.limits.FileSize))
	}
	if f.bytes += info.Size(); f.bytes > f.limits.TotalSize {
		return nil, f.refuse(fmt.Errorf("the build reads more than %d bytes", f.limits.TotalSize))
	}
	m, rest, err := f.locate(clean)
	if err != nil {
		return nil, err
	}
	content, err := m.root.ReadFile(rest)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: underlying(err)}
	}
	return content, nil
}

// ReadDir lists a directory, sorted.
func (f *fileSystem) ReadDir(name string) ([]string, error) {
	entries, err := f.list(name)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

func (f *fileSystem) list(name string) ([]fs.DirEntry, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	entries, err := f.listMounted(name)
	f.record.listed(name, entries, err)
	return entries, err
}

func (f *fileSystem) listMounted(name string) ([]fs.DirEntry, error) {
	clean, _, err := f.resolve(name)
	if err != nil {
		return nil, err
	}
	m, rest, err := f.locate(clean)
	if err != nil {
		return nil, err
	}
	dir, err := m.root.Open(rest)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: underlying(err)}
	}
	defer dir.Close()
	entries, err := dir.ReadDir(f.limits.Reads + 1)
	if err != nil && len(entries) == 0 && !errors.Is(err, io.EOF) {
		return nil, &fs.PathError{Op: "read", Path: name, Err: underlying(err)}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// IsDir reports whether a path names a directory.
func (f *fileSystem) IsDir(name string) bool {
	_, file, err := f.CleanedAbs(name)
	return err == nil && file == ""
}

// Exists reports whether a path names anything.
func (f *fileSystem) Exists(name string) bool {
	if _, ok := f.overlay[path.Clean(name)]; ok {
		return true
	}
	_, _, err := f.CleanedAbs(name)
	return err == nil
}

// Create is refused.
func (f *fileSystem) Create(string) (filesys.File, error) { return nil, errReadOnly }

// Mkdir is refused.
func (f *fileSystem) Mkdir(string) error { return errReadOnly }

// MkdirAll is refused.
func (f *fileSystem) MkdirAll(string) error { return errReadOnly }

// RemoveAll is refused.
func (f *fileSystem) RemoveAll(string) error { return errReadOnly }

// WriteFile is refused.
func (f *fileSystem) WriteFile(string, []byte) error { return errReadOnly }

// Open is refused: a build reads whole files.
func (f *fileSystem) Open(string) (filesys.File, error) { return nil, errors.ErrUnsupported }

// Glob is refused: no kustomization field is a pattern.
func (f *fileSystem) Glob(string) ([]string, error) { return nil, errors.ErrUnsupported }

// Walk is refused: kustomize reads only what a kustomization names.
func (f *fileSystem) Walk(string, filepath.WalkFunc) error { return errors.ErrUnsupported }
