package cache

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Names in the directory of a published tree.
const (
	treeName  = "tree"
	indexName = "index"
)

func treeDir(dir string) string {
	return filepath.Join(dir, treeName)
}

// Tree is an unpacked artifact. It is shared: nothing may be written below its directory.
type Tree struct {
	dir     string
	index   *index
	release func()
}

// Dir returns the absolute path of the directory. It is valid until Release.
func (t *Tree) Dir() string {
	return t.dir
}

// Release lets go of the tree, which must not be used afterwards. Further calls do nothing.
func (t *Tree) Release() {
	t.release()
}

// Digest returns the identity of what is at a slash path: of a file its content and x bit, of a
// directory also all names below it. It is empty where there is nothing, so a consumer can note
// what it missed, too. "." is the whole tree.
func (t *Tree) Digest(name string) string {
	i, found := t.index.find(clean(name))
	if !found {
		return ""
	}
	n := t.index.nodes[i]
	return string(n.kind) + ":" + hex.EncodeToString(n.digest[:])
}

// IsDir reports whether there is a directory at a slash path.
func (t *Tree) IsDir(name string) bool {
	i, found := t.index.find(clean(name))
	return found && t.index.nodes[i].kind == dirNode
}

// Files returns the slash paths of all files below a directory, sorted as a walk finds them, or
// the file itself.
func (t *Tree) Files(name string) []string {
	name = clean(name)
	i, found := t.index.find(name)
	if !found {
		return nil
	}
	if t.index.nodes[i].kind != dirNode {
		return []string{name}
	}
	var files []string
	for _, n := range t.index.below(name) {
		if n.kind != dirNode {
			files = append(files, n.path)
		}
	}
	return files
}

// clean returns the form of a path that the index has. What leads out of the tree is never found.
func clean(name string) string {
	if path.IsAbs(name) || strings.ContainsRune(name, 0) {
		return ".."
	}
	return path.Clean(name)
}

// seal makes a tree read-only, from the leaves up.
func seal(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if e.IsDir() {
			err = seal(name)
		} else if info, ierr := e.Info(); ierr == nil {
			err = os.Chmod(name, info.Mode().Perm()&0o555)
		} else {
			err = ierr
		}
		if err != nil {
			return err
		}
	}
	return os.Chmod(dir, 0o500)
}

// removeTree removes a directory that may be read-only. It is no error if there is none.
func removeTree(dir string) error {
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(name, 0o700)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// measure returns about how much disk a tree takes, in blocks as most file systems count.
func measure(dir string) (bytes int64) {
	const block = 4096
	//nolint:errcheck // what cannot be read is not counted
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		bytes += block
		if info, err := d.Info(); err == nil && !d.IsDir() {
			bytes += (info.Size() - 1) / block * block
		}
		return nil
	})
	return bytes
}
