package state

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNames(t *testing.T) {
	t.Setenv(HomeVariable, t.TempDir())
	for name, good := range map[string]bool{
		"default": true, "a": true, "test-1": true,
		"": false, "..": false, "a/b": false, "-a": false, "Upper": false, strings.Repeat("a", 41): false,
	} {
		if _, err := Open(name); (err == nil) != good {
			t.Errorf("%q: got %v", name, err)
		}
	}
}

func TestLockTellsWhoRuns(t *testing.T) {
	t.Setenv(HomeVariable, t.TempDir())
	dir, err := Open("x")
	if err != nil {
		t.Fatal(err)
	}
	if dir.Running() {
		t.Error("a sandbox that was never started runs")
	}
	if err := dir.Create(); err != nil {
		t.Fatal(err)
	}
	lock, err := dir.RunLock()
	if err != nil {
		t.Fatal(err)
	}
	if !dir.Running() {
		t.Error("a sandbox whose lock is held does not run")
	}
	if _, err := dir.RunLock(); !errors.Is(err, ErrLocked) {
		t.Errorf("the lock was given twice: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := dir.WaitStopped(ctx); !errors.Is(err, ErrLocked) {
		t.Errorf("waiting for a running sandbox should time out: %v", err)
	}
	lock.Release()
	if err := dir.WaitStopped(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLockOfRemovedFileIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := tryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	if !still(lock.file, path) {
		t.Error("the lock is not that of its file")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if still(lock.file, path) {
		t.Error("a removed file still counts")
	}
	other, err := tryLock(path)
	if err != nil {
		t.Fatalf("a new file is free: %v", err)
	}
	defer other.Release()
	if still(lock.file, path) {
		t.Error("another file of the name counts as the one that was removed")
	}
}

func TestStateIsPrivate(t *testing.T) {
	t.Setenv(HomeVariable, t.TempDir())
	dir, err := Open("x")
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Create(); err != nil {
		t.Fatal(err)
	}
	if err := dir.Save(&State{Name: "x", Git: &Git{Password: "secret"}}); err != nil {
		t.Fatal(err)
	}
	read, err := dir.Load()
	if err != nil || read.Git.Password != "secret" {
		t.Fatalf("read back %+v, %v", read, err)
	}
	for _, path := range []string{dir.Path(), dir.Path("state.json")} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others can read %s: %v", path, info.Mode())
		}
	}
}

func TestMapReplaces(t *testing.T) {
	t.Setenv(HomeVariable, t.TempDir())
	dir, err := Open("x")
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Create(); err != nil {
		t.Fatal(err)
	}
	for _, executable := range []string{"/one", "/two"} {
		if err := dir.Map([]Image{{Reference: DefaultRegistry, Executable: executable}}); err != nil {
			t.Fatal(err)
		}
	}
	if images := dir.Images(); len(images) != 1 || images[0].Executable != "/two" {
		t.Errorf("got %v", images)
	}
}
