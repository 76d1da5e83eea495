package state

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// ErrLocked says that another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// Lock is a held lock; the kernel releases it when the process ends.
type Lock struct{ file *os.File }

// Release gives the lock back.
func (l *Lock) Release() {
	if l != nil && l.file != nil {
		l.file.Close()
	}
}

// RunLock takes the lock that the supervisor holds while it runs. The error is
// ErrLocked when a supervisor is running.
func (d Dir) RunLock() (*Lock, error) { return tryLock(d.Path("run.lock")) }

// Running reports whether a supervisor is running.
func (d Dir) Running() bool {
	if _, err := os.Stat(d.Path("run.lock")); err != nil {
		return false
	}
	lock, err := d.RunLock()
	lock.Release()
	return errors.Is(err, ErrLocked)
}

// WaitStopped waits until no supervisor runs.
func (d Dir) WaitStopped(ctx context.Context) error {
	if _, err := os.Stat(d.Path("run.lock")); err != nil {
		return nil
	}
	lock, err := waitLock(ctx, d.Path("run.lock"))
	lock.Release()
	return err
}

// CommandLock serialises commands that start or stop the sandbox.
func CommandLock(ctx context.Context, d Dir) (*Lock, error) {
	home, err := Home()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	// Beside the directory, not in it: `down` removes the directory while it
	// holds this lock.
	lock, err := waitLock(ctx, string(d)+".lock")
	if err != nil {
		return nil, fmt.Errorf("another flux-sandbox command holds %s: %w", string(d)+".lock", err)
	}
	return lock, nil
}

func tryLock(path string) (*Lock, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil && !still(file, path) {
		file.Close()
		return tryLock(path)
	}
	if err == nil {
		return &Lock{file: file}, nil
	}
	file.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, ErrLocked
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

// still reports whether path is the file. `down` removes the file of the lock that it holds, and who waited for that one
// has a lock that nobody else sees.
func still(file *os.File, path string) bool {
	ours, err := file.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(path)
	return err == nil && os.SameFile(ours, now)
}

// waitLock retries rather than blocks, because a blocked flock cannot be
// cancelled.
func waitLock(ctx context.Context, path string) (*Lock, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		lock, err := tryLock(path)
		if !errors.Is(err, ErrLocked) {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, ErrLocked
		case <-tick.C:
		}
	}
}
