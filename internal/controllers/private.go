package controllers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// privateDir returns a directory below the temporary one for what a controller keeps between runs. It
// takes the one of this name only if it made it: where others can write to the temporary directory,
// somebody may have put one there to read or to choose what the controller works with. Then it makes
// one of a name that nobody knows, which is the caller's to remove (own).
func privateDir(name string) (dir string, own bool, err error) {
	dir = filepath.Join(os.TempDir(), name)
	err = os.Mkdir(dir, 0o700)
	if err == nil {
		return dir, false, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return "", false, fmt.Errorf("make a directory for temporary files (set TMPDIR to one that can be written): %w", err)
	}
	if info, err := os.Lstat(dir); err == nil && madeByUs(info) {
		return dir, false, nil
	}
	dir, err = os.MkdirTemp("", name+"-")
	return dir, true, err
}

// madeByUs tells whether a directory belongs to this user and nobody else may enter it.
func madeByUs(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.IsDir() && info.Mode().Perm()&0o077 == 0 && stat.Uid == uint32(os.Geteuid())
}
