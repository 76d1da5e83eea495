package bucket

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// mirror keeps the content of what was fetched from one bucket for one object, in files that are named by their SHA-256,
// and an index that says which key was fetched with which etag. Files come before the index that names them; what no
// index names is swept.
type mirror struct {
	dir string

	mu    sync.Mutex
	index index
}

// index is the file beside the objects.
type index struct {
	// Remote is where they come from; those of another place count for nothing.
	Remote string `json:"remote"`
	// Objects by key.
	Objects map[string]kept `json:"objects"`
}

// kept is one object that was fetched.
type kept struct {
	ETag   string `json:"etag"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

const indexFile = "index.json"

// openMirror opens the mirror in dir, creating it if need be. An index that cannot be used is an empty one.
func openMirror(dir, remote string) (*mirror, error) {
	m := &mirror{dir: dir, index: index{Remote: remote, Objects: map[string]kept{}}}
	if err := os.MkdirAll(filepath.Join(dir, "objects"), 0o700); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, indexFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return m, nil
	case err != nil:
		return nil, err
	}
	var stored index
	if json.Unmarshal(data, &stored) == nil && stored.Remote == remote && stored.Objects != nil {
		m.index = stored
	}
	return m, nil
}

// have returns what was fetched of a key with an etag, if it is still there.
func (m *mirror) have(key, etag string) (kept, bool) {
	m.mu.Lock()
	k, found := m.index.Objects[key]
	m.mu.Unlock()
	if !found || k.ETag != etag || len(k.SHA256) != 2*sha256.Size {
		return kept{}, false
	}
	info, err := os.Stat(m.file(k))
	return k, err == nil && info.Size() == k.Size
}

func (m *mirror) file(k kept) string { return filepath.Join(m.dir, "objects", k.SHA256) }

// put keeps the content of an object.
func (m *mirror) put(key, etag string, body io.Reader) (k kept, err error) {
	f, err := os.CreateTemp(filepath.Join(m.dir, "objects"), "new-")
	if err != nil {
		return kept{}, localError{err}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(localWriter{f}, h), body)
	if err := errors.Join(err, f.Close()); err != nil {
		return kept{}, err
	}
	k = kept{ETag: etag, Size: n, SHA256: hex.EncodeToString(h.Sum(nil))}
	if err := os.Rename(f.Name(), m.file(k)); err != nil {
		return kept{}, localError{err}
	}
	m.mu.Lock()
	m.index.Objects[key] = k
	m.mu.Unlock()
	return k, nil
}

// save writes the index with those keys only, and removes the files that it does not name.
func (m *mirror) save(keys map[string]bool) error {
	named := map[string]bool{}
	m.mu.Lock()
	for key, k := range m.index.Objects {
		if !keys[key] {
			delete(m.index.Objects, key)
			continue
		}
		named[k.SHA256] = true
	}
	data, err := json.Marshal(m.index)
	m.mu.Unlock()
	if err != nil {
		return err
	}
	if err := writeAside(filepath.Join(m.dir, indexFile), data); err != nil {
		return err
	}
	entries, err := os.ReadDir(filepath.Join(m.dir, "objects"))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if !named[e.Name()] {
			errs = append(errs, os.Remove(filepath.Join(m.dir, "objects", e.Name())))
		}
	}
	return errors.Join(errs...)
}

func writeAside(name string, data []byte) error {
	if err := os.WriteFile(name+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// remove forgets everything.
func (m *mirror) remove() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.index.Objects = map[string]kept{}
	return os.RemoveAll(m.dir)
}

// open returns the content of an object; reading it to the end fails if it is not what was fetched.
func (m *mirror) open(k kept) (io.ReadCloser, error) {
	f, err := os.Open(m.file(k))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return &verified{File: f, want: k.SHA256, sum: sha256.New()}, nil
}

// errDamaged says that a mirror is not what its index says.
var errDamaged = errors.New("the kept objects are damaged")

// verified is a file that is held against its digest.
type verified struct {
	*os.File
	want string
	sum  hash.Hash
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.File.Read(p)
	v.sum.Write(p[:n]) //nolint:errcheck // a hash never fails
	if err == io.EOF && hex.EncodeToString(v.sum.Sum(nil)) != v.want {
		return n, errDamaged
	}
	return n, err
}

// WriteTo keeps io.Copy from going round Read.
func (v *verified) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{v})
}

// localError is an error of our own disk, as opposed to one of the storage.
type localError struct{ error }

func (e localError) Unwrap() error { return e.error }

type localWriter struct{ io.Writer }

func (w localWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		err = localError{err}
	}
	return n, err
}
