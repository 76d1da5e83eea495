//go:build unix

// Package lockfile keeps processes that share a directory out of each other's way. A lock ends with
// the process that holds it, however that ends.
package lockfile

import (
	"os"
	"syscall"
)

// Lock waits until no other open file holds the lock of f, which may be a directory, and takes it.
func Lock(f *os.File) error {
	for {
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != syscall.EINTR {
			return err
		}
	}
}

// TryLock takes the lock of f if it is free.
func TryLock(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// Unlock gives the lock back before f is closed.
func Unlock(f *os.File) {
	syscall.Flock(int(f.Fd()), syscall.LOCK_UN) //nolint:errcheck // closing the file unlocks it too
}
