package ignore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// Set answers for any path of one tree whether it is left out, for callers that do not walk it
// from the top.
type Set struct {
	base *Rules
	dirs map[string][]Pattern
}

// LoadBelow reads the .sourceignore files that count below dir, a slash path of a tree that may be large, and adds patterns.
func LoadBelow(fsys fs.FS, dir string, extra []Pattern) (*Set, error) {
	s := &Set{dirs: map[string][]Pattern{}}
	for at := path.Clean(dir); at != "."; {
		at = path.Dir(at)
		patterns, err := readPatterns(fsys, path.Join(at, FileName))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if len(patterns) > 0 {
			s.dirs[at] = patterns
		}
	}
	err := fs.WalkDir(fsys, path.Clean(dir), func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case !d.Type().IsRegular() || d.Name() != FileName:
			return nil
		}
		patterns, err := readPatterns(fsys, p)
		if err == nil && len(patterns) > 0 {
			s.dirs[path.Dir(p)] = patterns
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	s.base = New(extra, len(extra) == 0 && len(s.dirs) == 0)
	return s, nil
}

func readPatterns(fsys fs.FS, name string) (patterns []Pattern, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return Read(f, path.Dir(name))
}

// Read parses the .sourceignore file of dir, within the limits of this package.
func Read(r io.Reader, dir string) ([]Pattern, error) {
	text, err := io.ReadAll(io.LimitReader(r, MaxFileBytes+1))
	if err == nil {
		var patterns []Pattern
		if patterns, err = Parse(string(text), dir); err == nil {
			return patterns, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", path.Join(dir, FileName), err)
}

// Excluded reports whether the file or directory at this slash path, or a directory above it, is
// left out.
func (s *Set) Excluded(name string, isDir bool) bool {
	elements := split(path.Clean(name))
	rules := s.base.Enter(".", s.dirs["."])
	for i := range elements {
		here := elements[:i+1]
		if rules.Excluded(here, isDir || i < len(elements)-1) {
			return true
		}
		dir := strings.Join(here, "/")
		rules = rules.Enter(dir, s.dirs[dir])
	}
	return false
}
