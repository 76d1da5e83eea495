// Package edits finds out what images would change in the files of a commit, and makes nothing of it: automations
// commit the result, `flux image preview` prints it.
//
// Which files have markers is a pure function of their content, so it is remembered by the names of Git trees and blobs:
// looking through a commit costs what is new in it.
package edits

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/image/setters"
)

// ErrPath is wrapped when the directory to update is not there.
var ErrPath = errors.New("update path not found")

const (
	// maxFile is the largest file that is written to, in bytes.
	maxFile = 16 << 20
	// maxKnown bounds the trees and blobs that are remembered.
	maxKnown = 1 << 18
	// maxSkipped bounds the markers that are reported.
	maxSkipped = 1000
)

// Finder remembers where markers are. The zero value is ready, and safe for concurrent use.
type Finder struct {
	mu    sync.Mutex
	trees map[gitrepo.Hash][]place
	blobs map[gitrepo.Hash]bool
}

// place is a file that has markers, by its path from the tree.
type place struct {
	path string
	hash gitrepo.Hash
}

// Change is one value in one file. File is relative to the directory that was updated.
type Change struct {
	File string
	setters.Change
}

// Skipped is a marker that nothing was written to, or a file that could not be read.
type Skipped struct {
	File string
	setters.Skipped
}

// Plan is what would change.
type Plan struct {
	// Edits by path from the root of the repository.
	Edits   []gitrepo.Edit
	Changes []Change
	Skipped []Skipped
}

// Plan looks through the YAML files below a directory of a commit.
func (f *Finder) Plan(ctx context.Context, snap *gitrepo.Snapshot, dir string, lookup setters.Lookup) (Plan, error) {
	var out Plan
	dir = Clean(dir)
	places, err := f.places(ctx, snap, dir)
	if err != nil {
		return out, err
	}
	for _, p := range places {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		if p.path == "" { // The directory is this file.
			dir, p.path = path.Dir(dir), path.Base(dir)
		}
		content, err := read(snap, p.hash)
		switch {
		case errors.Is(err, errLarge):
			out.skip(p.path, setters.Skipped{Why: err.Error()})
		case err != nil:
			return out, fmt.Errorf("read '%s': %w", path.Join(dir, p.path), err)
		default:
			out.file(dir, p.path, content, lookup)
		}
	}
	return out, nil
}

// file adds what changes in one file.
func (p *Plan) file(dir, name string, content []byte, lookup setters.Lookup) {
	result, err := setters.Apply(content, lookup)
	if err != nil {
		p.skip(name, setters.Skipped{Why: fmt.Sprintf("the file is no valid YAML: %s", firstLine(err))})
		return
	}
	for _, s := range result.Skipped {
		p.skip(name, s)
	}
	if len(result.Changes) == 0 {
		return
	}
	p.Edits = append(p.Edits, gitrepo.Edit{Path: path.Join(dir, name), Content: result.Content})
	for _, c := range result.Changes {
		p.Changes = append(p.Changes, Change{File: name, Change: c})
	}
}

func (p *Plan) skip(file string, s setters.Skipped) {
	if len(p.Skipped) < maxSkipped {
		p.Skipped = append(p.Skipped, Skipped{File: file, Skipped: s})
	}
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// Clean makes spec.update.path relative to the root of the repository, which it cannot leave. The root is "".
func Clean(dir string) string { return strings.TrimPrefix(path.Clean("/"+dir), "/") }

// places finds the files with markers below a directory; dir may also be a file.
func (f *Finder) places(ctx context.Context, snap *gitrepo.Snapshot, dir string) ([]place, error) {
	if dir == "" {
		return f.tree(ctx, snap, snap.Root())
	}
	entry, ok, err := snap.Lookup(dir)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, fmt.Errorf("%w: there is no '%s' in %s; correct spec.update.path", ErrPath, dir, snap.Revision())
	case entry.Mode == gitrepo.ModeDir:
		return f.tree(ctx, snap, entry.Hash)
	case isFile(entry.Mode):
		marked, err := f.marked(snap, entry.Hash)
		if err != nil || !marked {
			return nil, err
		}
		return []place{{"", entry.Hash}}, nil
	}
	return nil, fmt.Errorf("%w: '%s' is a link or a submodule in %s; name a directory in spec.update.path", ErrPath, dir, snap.Revision())
}

func isFile(m gitrepo.Mode) bool { return m == gitrepo.ModeFile || m == gitrepo.ModeExecutable }

// IsYAML tells by its name whether a file is looked at.
func IsYAML(name string) bool {
	return strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml") || name == "Kustomization"
}

func (f *Finder) tree(ctx context.Context, snap *gitrepo.Snapshot, hash gitrepo.Hash) ([]place, error) {
	f.mu.Lock()
	known, ok := f.trees[hash]
	f.mu.Unlock()
	if ok {
		return known, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := snap.Tree(hash)
	if err != nil {
		return nil, err
	}
	var out []place
	for _, e := range entries {
		switch {
		case e.Mode == gitrepo.ModeDir:
			below, err := f.tree(ctx, snap, e.Hash)
			if err != nil {
				return nil, err
			}
			for _, p := range below {
				out = append(out, place{path.Join(e.Name, p.path), p.hash})
			}
		case isFile(e.Mode) && IsYAML(e.Name):
			marked, err := f.marked(snap, e.Hash)
			if err != nil {
				return nil, err
			}
			if marked {
				out = append(out, place{e.Name, e.Hash})
			}
		}
	}
	f.remember(func() {
		f.trees[hash] = slices.Clip(out)
	})
	return out, nil
}

// marked tells whether a file has the text of a marker.
func (f *Finder) marked(snap *gitrepo.Snapshot, hash gitrepo.Hash) (bool, error) {
	f.mu.Lock()
	known, ok := f.blobs[hash]
	f.mu.Unlock()
	if ok {
		return known, nil
	}
	r, _, err := snap.Blob(hash)
	if err != nil {
		return false, err
	}
	defer r.Close() //nolint:errcheck // read only
	marked, err := contains(r, []byte(setters.Text))
	if err != nil {
		return false, err
	}
	f.remember(func() { f.blobs[hash] = marked })
	return marked, nil
}

func (f *Finder) remember(set func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.trees == nil || len(f.trees)+len(f.blobs) > maxKnown {
		f.trees, f.blobs = map[gitrepo.Hash][]place{}, map[gitrepo.Hash]bool{}
	}
	set()
}

// contains looks for a text without holding all of what it reads.
func contains(r io.Reader, text []byte) (bool, error) {
	buf, kept := make([]byte, 32<<10), 0
	for {
		n, err := r.Read(buf[kept:])
		have := buf[:kept+n]
		switch {
		case bytes.Contains(have, text):
			return true, nil
		case errors.Is(err, io.EOF):
			return false, nil
		case err != nil:
			return false, err
		}
		kept = copy(buf, have[max(0, len(have)-len(text)+1):]) // The text may have begun.
	}
}

// errLarge is a file that nothing is written to.
var errLarge = fmt.Errorf("the file is larger than %d MiB; split it", maxFile>>20)

// read returns a file.
func read(snap *gitrepo.Snapshot, hash gitrepo.Hash) ([]byte, error) {
	r, size, err := snap.Blob(hash)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // read only
	if size > maxFile {
		return nil, errLarge
	}
	return io.ReadAll(r)
}
