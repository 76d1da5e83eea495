package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gitops-toolkit/flux/internal/artifact/ignore"
)

// readDir reads a directory, checks its names and sorts it as lexical walks do.
func readDir(ctx context.Context, tree Tree, dir, id string, depth int) ([]Entry, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if depth > maxDepth || len(dir) > maxPath {
		return nil, fmt.Errorf("%w: directory '%s' is nested more than %d levels or its path is longer than %d bytes", ErrLimit, clip(dir), maxDepth, maxPath)
	}
	entries, err := tree.ReadDir(ctx, dir, id)
	if err != nil {
		return nil, fmt.Errorf("cannot read directory '%s': %w", clip(dir), err)
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Name, b.Name) })
	for i, e := range entries {
		if !validName(e.Name) {
			return nil, fmt.Errorf("directory '%s' has an entry with the invalid name %q", clip(dir), clip(e.Name))
		}
		if i > 0 && entries[i-1].Name == e.Name {
			return nil, fmt.Errorf("directory '%s' has two entries named '%s'", clip(dir), clip(e.Name))
		}
	}
	return entries, nil
}

func validName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// clip keeps hostile names in an error short.
func clip(name string) string {
	const limit = 256
	if len(name) > limit {
		return name[:limit] + "..."
	}
	return name
}

// patternsIn reads the .sourceignore among the entries of dir, if there is one.
func patternsIn(ctx context.Context, tree Tree, dir string, entries []Entry) ([]ignore.Pattern, error) {
	i, found := slices.BinarySearchFunc(entries, ignore.FileName, func(e Entry, name string) int { return cmp.Compare(e.Name, name) })
	if !found || entries[i].Kind != File && entries[i].Kind != Executable {
		return nil, nil
	}
	r, err := tree.Open(ctx, join(dir, ignore.FileName), entries[i].ID)
	if err != nil {
		return nil, err
	}
	patterns, err := ignore.Read(r, dir)
	return patterns, errors.Join(err, r.Close())
}

// scanner looks for patterns in a whole tree.
type scanner struct {
	tree    Tree
	records *records
}

// anyPattern reports whether a .sourceignore in dir or below has a pattern.
func (s *scanner) anyPattern(ctx context.Context, dir, id string, depth int) (bool, error) {
	if found, known := s.records.patterns.get(id); known && id != "" {
		return found, nil
	}
	found, err := s.scan(ctx, dir, id, depth)
	if err == nil && id != "" {
		s.records.patterns.put(id, found)
	}
	return found, err
}

func (s *scanner) scan(ctx context.Context, dir, id string, depth int) (bool, error) {
	entries, err := readDir(ctx, s.tree, dir, id, depth)
	if err != nil {
		return false, err
	}
	if patterns, err := patternsIn(ctx, s.tree, dir, entries); err != nil || len(patterns) > 0 {
		return len(patterns) > 0, err
	}
	for _, e := range entries {
		if e.Kind != Dir || e.Name == ".git" {
			continue
		}
		if found, err := s.anyPattern(ctx, join(dir, e.Name), e.ID, depth+1); err != nil || found {
			return found, err
		}
	}
	return false, nil
}
