package git

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Work is a clone in which somebody works with the git command, as people do.
type Work struct{ Dir string }

// Clone clones from a URL, which may hold a login, into a directory that does not exist yet.
func Clone(url, dir string) (*Work, error) {
	w := &Work{Dir: filepath.Dir(dir)}
	if _, err := w.git("clone", url, dir); err != nil {
		return nil, err
	}
	w.Dir = dir
	return w, nil
}

// Commit writes files and commits them; it returns the commit.
func (w *Work) Commit(files map[string]string, message string) (string, error) {
	for name, content := range files {
		path := filepath.Join(w.Dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return "", err
		}
	}
	if _, err := w.git("add", "--all"); err != nil {
		return "", err
	}
	if _, err := w.git("commit", "-m", message); err != nil {
		return "", err
	}
	hash, err := w.git("rev-parse", "HEAD")
	return hash[:min(len(hash), len(noCommit))], err
}

// Push pushes the branch that is checked out.
func (w *Work) Push() error {
	_, err := w.git("push", "origin", "HEAD")
	return err
}

func (w *Work) git(args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = w.Dir, environment()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, out)
	}
	return string(out), nil
}
