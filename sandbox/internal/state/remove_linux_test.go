package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
)

// TestRemoveReadOnly removes what a controller has sealed, as somebody who is not root.
func TestRemoveReadOnly(t *testing.T) {
	dir := t.TempDir()
	if os.Geteuid() == 0 {
		const nobody = 65534
		must(t, errors.Join(os.Chown(filepath.Dir(dir), nobody, nobody), os.Chown(dir, nobody, nobody)))
		runtime.LockOSThread() // for good: only this thread sees files as nobody does
		must(t, syscall.Setfsuid(nobody))
	}
	sandbox := filepath.Join(dir, "sandbox")
	tree := filepath.Join(sandbox, "pods", "tree")
	must(t, errors.Join(os.MkdirAll(tree, 0o700), os.WriteFile(filepath.Join(tree, "file"), nil, 0o400), os.Chmod(tree, 0o500)))
	if err := os.RemoveAll(sandbox); !errors.Is(err, fs.ErrPermission) {
		t.Fatalf("os.RemoveAll: %v; the tree is not sealed", err)
	}
	must(t, Remove(sandbox))
	if _, err := os.Lstat(sandbox); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the sandbox is still there: %v", err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
