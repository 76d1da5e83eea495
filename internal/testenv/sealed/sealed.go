// Package sealed gives tests directories that are removed whoever runs them: the cache of artifacts keeps read-only trees
// there, which only root could remove as they are.
package sealed

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TempDir is t.TempDir for a test that keeps a cache of artifacts there.
func TempDir(t testing.TB) string {
	dir := t.TempDir()
	t.Cleanup(func() { Open(dir) })
	return dir
}

// Open lets the owner remove what is below dir.
func Open(dir string) {
	_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(name, 0o700)
		}
		return err // What is left is told by the removal.
	})
}
