package artifactgenerator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	extensionsv1 "github.com/gitops-toolkit/flux/api/extensions/v1beta1"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/cache"
	"github.com/gitops-toolkit/flux/internal/artifact/ignore"
)

// composition is the artifact that is being laid out.
type composition struct {
	out *archive.ListTree
	// temp is where archives are extracted to; made when needed.
	temp func() (string, error)
}

// compose lays out the files of one artifact.
func compose(ctx context.Context, a extensionsv1.OutputArtifact, trees map[string]*cache.Tree, temp func() (string, error)) (*archive.ListTree, error) {
	c := &composition{out: archive.NewListTree(), temp: temp}
	for _, op := range a.Copy {
		if err := c.copy(ctx, op, trees); err != nil {
			return nil, err
		}
	}
	return c.out, nil
}

// operation is a copy operation taken apart.
type operation struct {
	alias, pattern string // pattern is clean; "" is the root
	tree           *cache.Tree
	to             string // clean; "." is the root
	intoDir        bool   // to ends in a slash
	strategy       string
	exclude        *excluder
}

func (c *composition) copy(ctx context.Context, op extensionsv1.CopyOperation, trees map[string]*cache.Tree) error {
	o, err := parse(op, trees)
	if err != nil {
		return err
	}
	switch {
	case o.strategy == extensionsv1.ExtractStrategy:
		return c.extract(ctx, o)
	case isGlob(o.pattern):
		return c.copyGlob(o)
	}
	return c.copyPath(o)
}

func parse(op extensionsv1.CopyOperation, trees map[string]*cache.Tree) (o operation, err error) {
	o.strategy = op.Strategy
	var from, to string
	o.alias, from = splitAlias(op.From)
	if o.tree = trees[o.alias]; o.tree == nil {
		return o, fmt.Errorf("source alias '%s' is not found", o.alias)
	}
	if o.pattern, err = inside(from); err != nil {
		return o, fmt.Errorf("from '%s': %w", op.From, err)
	}
	_, to = splitAlias(op.To)
	if o.to, err = inside(to); err != nil {
		return o, fmt.Errorf("to '%s': %w", op.To, err)
	}
	if o.to == "" {
		o.to = "."
	}
	o.intoDir = o.to == "." || strings.HasSuffix(to, "/")
	for _, part := range strings.Split(o.pattern, "/") {
		if _, err := path.Match(part, ""); err != nil {
			return o, fmt.Errorf("invalid glob pattern '%s': %w", o.pattern, err)
		}
	}
	prefix := literalPrefix(o.pattern)
	if !isGlob(o.pattern) && !o.tree.IsDir(o.pattern) {
		prefix = path.Dir(o.pattern)
	}
	o.exclude, err = newExcluder(op.Exclude, strings.Trim(prefix, "."))
	return o, err
}

// inside is a clean path that stays in its root, "" for the root itself.
func inside(name string) (string, error) {
	if strings.Trim(name, "/.") == "" && !strings.Contains(name, "..") {
		return "", nil
	}
	return archive.CleanPath(name)
}

// copyPath copies a file, or a directory as a sub directory. The root is copied as what is in it.
func (c *composition) copyPath(o operation) error {
	switch {
	case o.pattern == "":
		return c.copyDir(o, "", o.to)
	case o.tree.IsDir(o.pattern):
		return c.copyDir(o, o.pattern, path.Join(o.to, path.Base(o.pattern)))
	case o.tree.Digest(o.pattern) == "":
		return fmt.Errorf("source '%s' does not exist", o.pattern)
	case o.exclude.excluded(o.pattern):
		return nil
	}
	to := o.to
	if o.intoDir || c.out.IsDir(to) {
		to = path.Join(to, path.Base(o.pattern))
	}
	return c.file(o, o.pattern, to)
}

// copyDir copies what is below a directory; files that are there are overwritten whatever the strategy.
func (c *composition) copyDir(o operation, dir, to string) error {
	for _, file := range o.tree.Files(orRoot(dir)) {
		if o.exclude.excluded(file) {
			continue
		}
		relative := strings.TrimPrefix(strings.TrimPrefix(file, dir), "/")
		if err := c.put(o.tree, file, path.Join(to, relative)); err != nil {
			return err
		}
	}
	return nil
}

func orRoot(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}

// copyGlob copies what matches, level by level; directories that match are copied whole.
func (c *composition) copyGlob(o operation) error {
	strip := ""
	if dir, all := strings.CutSuffix(o.pattern, "**"); all && !isGlob(dir) {
		strip = dir
	}
	names := matching(o.tree, func(name string) bool { return level(o.pattern, name) })
	if len(names) == 0 {
		return fmt.Errorf("no files match pattern '%s' in source '%s'", o.pattern, o.alias)
	}
	kept := slices.DeleteFunc(names, o.exclude.excluded)
	if len(kept) == 0 {
		return fmt.Errorf("all files matching pattern '%s' in source '%s' were excluded", o.pattern, o.alias)
	}
	for _, name := range kept {
		to := path.Join(o.to, strings.TrimPrefix(name, strip))
		var err error
		if o.tree.IsDir(name) {
			err = c.copyDir(o, name, to)
		} else {
			err = c.file(o, name, to)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// matching returns the files and directories of a tree that a function accepts, sorted.
func matching(t tree, accept func(string) bool) []string {
	names := slices.Concat(directories(t), t.Files("."))
	names = slices.DeleteFunc(names, func(name string) bool { return !accept(name) })
	slices.Sort(names)
	return names
}

// file copies one file that was named or matched itself.
func (c *composition) file(o operation, from, to string) error {
	if o.strategy == extensionsv1.MergeStrategy {
		if there, found := c.out.File(to); found {
			return c.merge(o, from, to, there)
		}
	}
	return c.put(o.tree, from, to)
}

func (c *composition) put(t *cache.Tree, from, to string) error {
	id := t.Digest(from)
	name := filepath.Join(t.Dir(), filepath.FromSlash(from))
	info, err := os.Lstat(name)
	if err != nil {
		return fmt.Errorf("source '%s': %w", from, errors.Unwrap(err))
	}
	return c.out.Add(to, archive.ListFile{
		Executable: info.Mode()&0o111 != 0, Size: info.Size(), ID: id,
		Open: func() (io.ReadCloser, error) { return os.Open(name) },
	})
}

// listVersion is part of what names the content, and changes when the archive of the same list would.
const listVersion = 1

// pruned leaves out what deployments do not need, and returns a name for what remains: a digest over paths, modes and
// contents.
func pruned(all *archive.ListTree) (*archive.ListTree, string, error) {
	rules := ignore.New(nil, true)
	out := archive.NewListTree()
	h := sha256.New()
	fmt.Fprintf(h, "%d\n", listVersion)
	for _, name := range all.Paths() {
		if rules.ExcludedBelow(strings.Split(name, "/")) {
			continue
		}
		f, _ := all.File(name)
		if err := out.Add(name, f); err != nil {
			return nil, "", err
		}
		fmt.Fprintf(h, "%q %t %s\n", name, f.Executable, f.ID)
	}
	return out, hex.EncodeToString(h.Sum(nil)), nil
}
