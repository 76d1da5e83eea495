package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/gitops-toolkit/flux/internal/artifact/internal/lockfile"
)

// tempDir holds what one process is writing. Its directory is locked while the process lives, so
// that another one knows what to remove and what to leave.
type tempDir struct {
	dir   string
	count atomic.Uint64

	mu   sync.Mutex
	lock *os.File
	// noLinks makes tests see a file system without hard links.
	noLinks bool
}

// openTemp makes a directory below parent and removes those of processes that have died. The caller
// holds the lock of the store.
func openTemp(parent string) (*tempDir, error) {
	if err := os.MkdirAll(parent, dirMode); err != nil {
		return nil, err
	}
	left, err := os.ReadDir(parent)
	if err != nil {
		return nil, err
	}
	for _, e := range left {
		if err := removeDead(filepath.Join(parent, e.Name())); err != nil {
			return nil, err
		}
	}
	dir, err := os.MkdirTemp(parent, "")
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	return &tempDir{dir: dir, lock: lock}, err
}

func lockDir(dir string) (*os.File, error) {
	lock, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := lockfile.Lock(lock); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

// ensure makes the directory anew if it is gone: whoever empties the volume takes it along.
func (t *tempDir) ensure() error {
	if _, err := os.Lstat(t.dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := os.MkdirAll(t.dir, dirMode); err != nil {
		return err
	}
	lock, err := lockDir(t.dir)
	if err == nil {
		t.lock, lock = lock, t.lock
		err = lock.Close()
	}
	return err
}

// removeDead removes a directory unless a living process holds its lock.
func removeDead(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read only
	if !lockfile.TryLock(f) {
		return nil
	}
	return os.RemoveAll(dir)
}

func (t *tempDir) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return errors.Join(os.RemoveAll(t.dir), t.lock.Close())
}

// next returns a path that nothing has yet.
func (t *tempDir) next() string {
	return filepath.Join(t.dir, fmt.Sprint(t.count.Add(1)))
}

func (t *tempDir) create() (*os.File, error) {
	if err := t.ensure(); err != nil {
		return nil, err
	}
	return os.OpenFile(t.next(), os.O_CREATE|os.O_EXCL|os.O_RDWR, fileMode)
}

// link returns another name for a file, or of a copy where the file system has no hard links left.
func (t *tempDir) link(file string) (string, error) {
	temp := t.next()
	if !t.noLinks && os.Link(file, temp) == nil {
		return temp, nil
	}
	if err := copyFile(temp, file); err != nil {
		return "", errors.Join(err, removeIfThere(temp))
	}
	return temp, nil
}

func copyFile(to, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // read only
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}
