package proc

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Sweep kills every process of this user that carries the sandbox's id in its
// environment, and returns how many it found.
func Sweep(id string) int {
	if id == "" {
		return 0
	}
	mark := []byte(IDVariable + "=" + id)
	entries, _ := filepath.Glob("/proc/[0-9]*/environ")
	found := 0
	for _, path := range entries {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		environ, err := os.ReadFile(path)
		if err != nil || !hasEntry(environ, mark) {
			continue
		}
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			found++
		}
	}
	return found
}

func hasEntry(environ, mark []byte) bool {
	for entry := range bytes.SplitSeq(environ, []byte{0}) {
		if bytes.Equal(entry, mark) {
			return true
		}
	}
	return false
}
