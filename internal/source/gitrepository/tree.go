package gitrepository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/gitops-toolkit/flux/internal/artifact/archive"
)

// tree is what goes into an artifact: the directories of one origin, with those of others mounted into it, and some
// left out. It must not be changed once it is read.
//
// Only directories on the way to a change are nodes. They have no id, so that the archiver remembers nothing of them;
// all others keep the id of their origin, and cost nothing while they stay as they are.
type tree struct{ root *node }

// node is a directory that is not quite that of an origin, or one that is, in another place.
type node struct {
	// origin is where the directory comes from, at a path and with an id; nil for one that is only ours.
	origin archive.Tree
	path   string
	id     string
	// dirs and files replace entries of the origin, or join them.
	dirs  map[string]*node
	files map[string]file
	// only, if set, are the names of the origin that are kept.
	only map[string]bool
}

// file is one file from elsewhere.
type file struct {
	archive.Entry
	size func(ctx context.Context) (int64, error) // nil if the entry has it
	open func(ctx context.Context) (io.ReadCloser, error)
}

// errExists is wrapped when there is something where a mount should go.
var errExists = errors.New("it exists already")

func newTree(origin archive.Tree) *tree {
	return &tree{root: &node{origin: origin, path: ".", id: origin.Root()}}
}

// plain tells whether the node is its origin's directory, unchanged.
func (n *node) plain() bool {
	return n.origin != nil && n.only == nil && len(n.dirs) == 0 && len(n.files) == 0
}

// list returns the entries of the origin that are kept and not replaced.
func (n *node) list(ctx context.Context) ([]archive.Entry, error) {
	if n.origin == nil {
		return nil, nil
	}
	entries, err := n.origin.ReadDir(ctx, n.path, n.id)
	return slices.DeleteFunc(entries, func(e archive.Entry) bool {
		_, file := n.files[e.Name]
		return file || n.dirs[e.Name] != nil || n.only != nil && !n.only[e.Name]
	}), err
}

// step returns the node of a directory in n, made if need be. What is not there becomes a directory of ours.
func (n *node) step(ctx context.Context, name string) (*node, error) {
	if child := n.dirs[name]; child != nil {
		return child, nil
	}
	if _, found := n.files[name]; found {
		return nil, fmt.Errorf("'%s' is a file", name)
	}
	entries, err := n.list(ctx)
	if err != nil {
		return nil, err
	}
	child := &node{}
	if i := slices.IndexFunc(entries, func(e archive.Entry) bool { return e.Name == name }); i >= 0 {
		if entries[i].Kind != archive.Dir {
			return nil, fmt.Errorf("'%s' is not a directory", name)
		}
		child = &node{origin: n.origin, path: path.Join(n.path, name), id: entries[i].ID}
	}
	n.setDir(name, child)
	return child, nil
}

func (n *node) setDir(name string, child *node) {
	if n.dirs == nil {
		n.dirs = map[string]*node{}
	}
	n.dirs[name] = child
}

func (n *node) setFile(f file) {
	if n.files == nil {
		n.files = map[string]file{}
	}
	n.files[f.Name] = f
}

// entry finds what the node has under a name.
func (n *node) entry(ctx context.Context, name string) (archive.Entry, bool, error) {
	if child := n.dirs[name]; child != nil {
		return archive.Entry{Name: name, Kind: archive.Dir}, true, nil
	}
	if f, found := n.files[name]; found {
		return f.Entry, true, nil
	}
	entries, err := n.list(ctx)
	if err != nil {
		return archive.Entry{}, false, err
	}
	i := slices.IndexFunc(entries, func(e archive.Entry) bool { return e.Name == name })
	if i < 0 {
		return archive.Entry{}, false, nil
	}
	return entries[i], true, nil
}

// parent returns the node that holds what is at a path, and the last name of the path.
func (t *tree) parent(ctx context.Context, p string) (*node, string, error) {
	dir, name := path.Split(p)
	n := t.root
	for _, part := range strings.FieldsFunc(dir, func(r rune) bool { return r == '/' }) {
		var err error
		if n, err = n.step(ctx, part); err != nil {
			return nil, "", err
		}
	}
	return n, name, nil
}

// mount puts a directory of another tree at a path where nothing is yet.
func (t *tree) mount(ctx context.Context, at string, from archive.Tree, dir string) error {
	n, name, err := t.vacant(ctx, at)
	if err != nil {
		return err
	}
	id := ""
	if dir == "." {
		id = from.Root()
	}
	n.setDir(name, &node{origin: from, path: dir, id: id})
	return nil
}

// put puts a file at a path where nothing is yet.
func (t *tree) put(ctx context.Context, at string, f file) error {
	n, name, err := t.vacant(ctx, at)
	if err != nil {
		return err
	}
	f.Name = name
	n.setFile(f)
	return nil
}

func (t *tree) vacant(ctx context.Context, at string) (*node, string, error) {
	n, name, err := t.parent(ctx, at)
	if err != nil {
		return nil, "", err
	}
	if name == "" {
		return nil, "", errExists
	}
	_, taken, err := n.entry(ctx, name)
	if err == nil && taken {
		err = errExists
	}
	return n, name, err
}

// find returns the node nearest to a path, and the rest of the path below it.
func (t *tree) find(p string) (*node, string) {
	n := t.root
	if p == "." {
		return n, ""
	}
	for p != "" {
		name, rest, _ := strings.Cut(p, "/")
		child := n.dirs[name]
		if child == nil {
			break
		}
		n, p = child, rest
	}
	return n, p
}

// Root implements archive.Tree.
func (t *tree) Root() string {
	if t.root.plain() {
		return t.root.id
	}
	return ""
}

// ReadDir implements archive.Tree.
func (t *tree) ReadDir(ctx context.Context, dir, id string) ([]archive.Entry, error) {
	n, rest := t.find(dir)
	if rest != "" {
		return n.origin.ReadDir(ctx, path.Join(n.path, rest), id)
	}
	entries, err := n.list(ctx)
	if err != nil {
		return nil, err
	}
	for _, f := range n.files {
		entries = append(entries, f.Entry)
	}
	for name, child := range n.dirs {
		e := archive.Entry{Name: name, Kind: archive.Dir}
		if child.plain() {
			e.ID = child.id
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// file returns the file of ours at a path, or else the origin with its path there.
func (t *tree) file(p string) (file, archive.Tree, string) {
	n, rest := t.find(p)
	if f, found := n.files[rest]; found {
		return f, nil, ""
	}
	return file{}, n.origin, path.Join(n.path, rest)
}

// Size implements archive.Tree.
func (t *tree) Size(ctx context.Context, p, id string) (int64, error) {
	f, origin, there := t.file(p)
	switch {
	case origin != nil:
		return origin.Size(ctx, there, id)
	case f.size != nil:
		return f.size(ctx)
	}
	return f.Entry.Size, nil
}

// Open implements archive.Tree.
func (t *tree) Open(ctx context.Context, p, id string) (io.ReadCloser, error) {
	f, origin, there := t.file(p)
	if origin != nil {
		return origin.Open(ctx, there, id)
	}
	return f.open(ctx)
}

// lookup finds what is at a path, without changing anything.
func (t *tree) lookup(ctx context.Context, p string) (archive.Entry, bool, error) {
	n, rest := t.find(path.Dir(p))
	for _, part := range strings.FieldsFunc(rest, func(r rune) bool { return r == '/' }) {
		e, found, err := n.entry(ctx, part)
		if err != nil || !found || e.Kind != archive.Dir {
			return archive.Entry{}, false, err
		}
		n = &node{origin: n.origin, path: path.Join(n.path, part), id: e.ID}
	}
	return n.entry(ctx, path.Base(p))
}

// keepOnly leaves out whatever is not at or below one of the paths. It must come before all mounts. The path that is
// not there is returned with errAbsent.
func (t *tree) keepOnly(ctx context.Context, paths []string) (absent string, err error) {
	for _, p := range slices.Sorted(slices.Values(paths)) {
		if p == "." {
			continue
		}
		if err := t.keep(ctx, strings.Split(p, "/")); err != nil {
			return p, err
		}
	}
	return "", nil
}

// errAbsent says that there is nothing at a path.
var errAbsent = errors.New("there is no such directory")

// keep keeps what is at a path. Paths come in order, so that a directory comes before those in it.
func (t *tree) keep(ctx context.Context, parts []string) error {
	n, covered := t.root, false
	for i, name := range parts {
		entries, err := n.origin.ReadDir(ctx, n.path, n.id)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(entries, func(e archive.Entry) bool { return e.Name == name })
		last := i == len(parts)-1
		if at < 0 || !last && entries[at].Kind != archive.Dir {
			return errAbsent
		}
		covered = covered || n.only[name]
		child := n.dirs[name]
		if child == nil {
			child = &node{origin: n.origin, path: path.Join(n.path, name), id: entries[at].ID}
		}
		if !covered {
			n.keepEntry(name, child, last)
		}
		n = child
	}
	return nil
}

// keepEntry keeps all that is under a name, or a child that knows what of it is kept.
func (n *node) keepEntry(name string, child *node, all bool) {
	if n.only == nil {
		n.only = map[string]bool{}
	}
	if all {
		n.only[name] = true
		return
	}
	n.setDir(name, child)
}
