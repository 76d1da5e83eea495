package sourcetest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Volume is a small file system of its own.
type Volume struct {
	testing.TB
	// Dir is where it is mounted.
	Dir string
}

// NewVolume mounts one of so many bytes; where that is not allowed, the test is skipped.
func NewVolume(t testing.TB, size int64) *Volume {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		t.Skipf("this test mounts a small file system, which takes root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return &Volume{t, dir}
}

const ballast = ".ballast"

// Leave fills the volume but for so many bytes, or makes room.
func (v *Volume) Leave(free int64) {
	v.Helper()
	name := filepath.Join(v.Dir, ballast)
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		v.Fatal(err)
	}
	var now syscall.Statfs_t
	if err := syscall.Statfs(v.Dir, &now); err != nil {
		v.Fatal(err)
	}
	if fill := int64(now.Bavail)*now.Bsize - free; fill > 0 {
		if err := os.WriteFile(name, make([]byte, fill), 0o600); err != nil {
			v.Fatal(err)
		}
	}
}
