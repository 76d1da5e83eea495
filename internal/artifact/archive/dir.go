package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
)

// DirTree is a directory on disk as a Tree. Nothing outside of the directory is reached, whatever
// links it holds. A file is named by the SHA-256 of its content, and reading one that has changed
// since fails.
type DirTree struct {
	root *os.Root
}

// OpenDir opens a directory as a Tree.
func OpenDir(path string) (*DirTree, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &DirTree{root: root}, nil
}

// Close lets go of the directory.
func (t *DirTree) Close() error {
	return t.root.Close()
}

// Root returns no id: a directory on disk does not know its content.
func (t *DirTree) Root() string {
	return ""
}

// ReadDir lists a directory and reads the files in it to name them.
func (t *DirTree) ReadDir(ctx context.Context, dir, _ string) (entries []Entry, err error) {
	f, err := t.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	listing, err := f.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	for _, d := range listing {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		e := Entry{Name: d.Name()}
		switch {
		case d.IsDir():
			e.Kind = Dir
		case d.Type().IsRegular():
			if err := t.identify(join(dir, d.Name()), &e); err != nil {
				return nil, err
			}
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// identify fills in what is known of a regular file.
func (t *DirTree) identify(path string, e *Entry) (err error) {
	f, info, err := t.open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	e.Size, err = io.Copy(h, f)
	e.ID = hex.EncodeToString(h.Sum(nil))
	e.Kind = File
	if info.Mode()&0o111 != 0 {
		e.Kind = Executable
	}
	return err
}

// open opens a regular file.
func (t *DirTree) open(path string) (*os.File, fs.FileInfo, error) {
	f, err := t.root.Open(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("'%s' is not a regular file", path)
	}
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// Size returns the size of a file.
func (t *DirTree) Size(_ context.Context, path, _ string) (int64, error) {
	info, err := t.root.Lstat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Open opens a file whose content must be what id names.
func (t *DirTree) Open(_ context.Context, path, id string) (io.ReadCloser, error) {
	f, _, err := t.open(path)
	if err != nil {
		return nil, err
	}
	return &verifiedFile{file: f, path: path, id: id, hash: sha256.New()}, nil
}

// verifiedFile ends in an error if its content is not what its id says.
type verifiedFile struct {
	file     *os.File
	path, id string
	hash     hash.Hash
}

func (f *verifiedFile) Read(p []byte) (int, error) {
	n, err := f.file.Read(p)
	f.hash.Write(p[:n])
	if err == io.EOF && hex.EncodeToString(f.hash.Sum(nil)) != f.id {
		return n, fmt.Errorf("file '%s' changed while it was read", f.path)
	}
	return n, err
}

func (f *verifiedFile) Close() error {
	return f.file.Close()
}
