package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gitops-toolkit/flux/internal/artifact"
)

// File is an artifact that is being served. While it is open it is not collected.
type File struct {
	*os.File
	// Digest of the content, empty if the store has not learned it yet.
	Digest artifact.Digest
	// ModTime is when the artifact was stored.
	ModTime time.Time

	release func()
}

// Close ends the serving.
func (f *File) Close() error {
	f.release()
	return f.File.Close()
}

// OpenFile opens an artifact for serving, by its path or that of a link to it. Any path that is not
// one of an artifact is ErrMissing.
func (s *Store) OpenFile(p string) (*File, error) {
	name, err := parsePath(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMissing, err)
	}
	if name, err = s.follow(name); err != nil {
		return nil, err
	}
	// claimed before it is opened, so that it cannot be collected in between
	release := s.claim(name.Path())
	f, err := s.root.Open(name.Path())
	if err == nil {
		var info fs.FileInfo
		if info, err = f.Stat(); err == nil && info.Mode().IsRegular() {
			s.mu.Lock()
			defer s.mu.Unlock()
			return &File{File: f, Digest: s.known[idOf(info)].digest, ModTime: info.ModTime(), release: release}, nil
		}
		err = errors.Join(err, f.Close(), fs.ErrNotExist)
	}
	release()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: '%s'", ErrMissing, p)
	}
	return nil, err
}

// follow returns the artifact that a link leads to. A link may only lead to its own directory.
func (s *Store) follow(name Name) (Name, error) {
	info, err := s.root.Lstat(name.Path())
	if errors.Is(err, fs.ErrNotExist) {
		return name, fmt.Errorf("%w: '%s'", ErrMissing, name.Path())
	}
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return name, err
	}
	target, err := s.root.Readlink(name.Path())
	if err != nil {
		return name, err
	}
	if dir := filepath.Dir(target); dir != "." && dir != s.file(name.Dir()) {
		// a volume that moved keeps its links; only the last two parts are sure
		if path.Base(filepath.ToSlash(dir)) != name.Name {
			return name, fmt.Errorf("%w: '%s' leads elsewhere", ErrMissing, name.Path())
		}
	}
	name.File = filepath.Base(target)
	return name, name.validate()
}

// claim keeps a path from being collected.
func (s *Store) claim(p string) (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served[p]++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.served[p]--; s.served[p] == 0 {
			delete(s.served, p)
		}
	})
}

// List returns the names in a directory of the store that the world may see, directories with a
// trailing slash, sorted, and when the directory last changed.
func (s *Store) List(dir string) ([]string, time.Time, error) {
	if dir = path.Clean(dir); dir != "." && (strings.Count(dir, "/") > 2 || !validObject(strings.Split(dir, "/"))) {
		return nil, time.Time{}, fmt.Errorf("%w: '%s'", ErrMissing, dir)
	}
	f, err := s.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, time.Time{}, fmt.Errorf("%w: '%s'", ErrMissing, dir)
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close() //nolint:errcheck // read only
	info, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, err
	}
	if !info.IsDir() {
		return nil, time.Time{}, fmt.Errorf("%w: '%s' is no directory", ErrMissing, dir)
	}
	entries, err := f.ReadDir(-1)
	var names []string
	for _, e := range entries {
		switch {
		case !validFile(e.Name()):
		case e.IsDir():
			names = append(names, e.Name()+"/")
		default:
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, info.ModTime(), err
}
