package controllers

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPrivateDir(t *testing.T) {
	tests := []struct {
		reason  string
		prepare func(t *testing.T, dir string)
		own     bool
	}{
		{"nothing there", func(*testing.T, string) {}, false},
		{"ours from the last run", func(t *testing.T, dir string) { need(t, os.Mkdir(dir, 0o700)) }, false},
		{"one that others can write to", func(t *testing.T, dir string) {
			need(t, os.Mkdir(dir, 0o700))
			need(t, os.Chmod(dir, 0o777))
		}, true},
		{"a link to somewhere", func(t *testing.T, dir string) { need(t, os.Symlink(t.TempDir(), dir)) }, true},
		{"a file", func(t *testing.T, dir string) { need(t, os.WriteFile(dir, nil, 0o600)) }, true},
		{"somebody else's", func(t *testing.T, dir string) {
			need(t, os.Mkdir(dir, 0o700))
			if err := os.Chown(dir, 12345, 12345); err != nil {
				t.Skip("only root can give a directory away")
			}
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			known := filepath.Join(os.TempDir(), "flux-x")
			tt.prepare(t, known)
			dir, own, err := privateDir("flux-x")
			need(t, err)
			if own != tt.own || (dir == known) == tt.own {
				t.Errorf("took %s, own %t", dir, own)
			}
			info, err := os.Lstat(dir)
			need(t, err)
			if !info.IsDir() || info.Mode().Perm() != 0o700 {
				t.Errorf("%s is %s", dir, info.Mode())
			}
		})
	}
}

func need(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
