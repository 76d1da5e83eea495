package diff

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// checkout returns the directory that stands for the source: --root itself, or a copy of a revision of
// the Git repository there, which done removes.
func (f *flags) checkout(ctx context.Context) (dir string, done func(), err error) {
	root, err := filepath.Abs(cmp.Or(f.root, "."))
	if err != nil {
		return "", nil, err
	}
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return "", nil, fmt.Errorf("--root: %w", err)
	}
	if f.revision == "" {
		return root, func() {}, nil
	}
	if strings.HasPrefix(f.revision, "-") {
		return "", nil, fmt.Errorf("--revision %q is no revision", f.revision)
	}
	if dir, err = os.MkdirTemp("", "flux-diff-"); err != nil {
		return "", nil, err
	}
	done = func() { _ = os.RemoveAll(dir) }
	if dir, err = filepath.EvalSymlinks(dir); err == nil {
		err = archive(ctx, root, f.revision, dir)
	}
	if err != nil {
		done()
		return "", nil, err
	}
	return dir, done, nil
}

// archive writes the files of a revision below dir.
func archive(ctx context.Context, repository, revision, dir string) error {
	cmd := exec.CommandContext(ctx, "git", "-C", repository, "archive", "--format=tar", revision)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("--revision needs the git program: %w", err)
	}
	unpacked := unpack(out, dir)
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("read revision %q of %s: %s", revision, repository, bytes.TrimSpace(stderr.Bytes()))
	}
	return unpacked
}

func unpack(r io.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	entries := tar.NewReader(r)
	for {
		header, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := filepath.FromSlash(strings.TrimSuffix(header.Name, "/"))
		switch header.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(name, 0o700)
		case tar.TypeReg:
			err = file(root, name, entries)
		case tar.TypeSymlink:
			err = root.Symlink(header.Linkname, name)
		}
		if err != nil {
			return err
		}
	}
}

func file(root *os.Root, name string, r io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := root.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
