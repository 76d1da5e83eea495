// Package tags keeps the tags that scans have found, on disk, so that a restart costs no scan.
//
// A file for each ImageRepository holds its tags, one a line in descending order, compressed from a threshold on:
// imagerepository/<namespace>/<name>/tags.txt or tags.txt.gz. Its time of modification says when the repository was
// last scanned. Files are replaced as a whole; half a list is never read.
package tags

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/adler32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// ErrNone says that nothing is known of a repository: it was never scanned, or the volume was lost.
var ErrNone = errors.New("no tags in database")

const (
	kind       = "imagerepository"
	plain      = "tags.txt"
	compressed = "tags.txt.gz"
	// maxList bounds what is read of a file, in bytes.
	maxList = 256 << 20
)

// Options of a Store.
type Options struct {
	// Dir is the directory, created if missing.
	Dir string
	// CompressFrom is the size in bytes from which lists are compressed; 0 never compresses.
	CompressFrom int
	// Digests makes revisions of the form sha256:<hex> instead of the checksum that dashboards know.
	Digests bool
}

// Store keeps lists of tags. It is safe for concurrent use, also by several objects; one object has one writer.
type Store struct{ Options }

// List is what is known of one repository.
type List struct {
	// Tags in descending order.
	Tags []string
	// Revision is the checksum of the tags.
	Revision string
	// Scanned is when a scan last found exactly these.
	Scanned time.Time
}

// Open opens the store.
func Open(o Options) (*Store, error) {
	if err := os.MkdirAll(filepath.Join(o.Dir, kind), 0o750); err != nil {
		return nil, fmt.Errorf("open the database of tags: %w", err)
	}
	return &Store{o}, nil
}

func (s *Store) dir(name types.NamespacedName) string {
	return filepath.Join(s.Dir, kind, name.Namespace, name.Name)
}

// Put sorts the tags and keeps them. A list that is there already only gets a new time.
func (s *Store) Put(name types.NamespacedName, list []string, at time.Time) (List, error) {
	slices.SortFunc(list, func(a, b string) int { return strings.Compare(b, a) })
	out := List{Tags: list, Revision: s.revision(list), Scanned: at}
	file, other := plain, compressed
	data := []byte(strings.Join(list, "\n"))
	if s.CompressFrom > 0 && len(data) >= s.CompressFrom {
		file, other = compressed, plain
	}
	path := filepath.Join(s.dir(name), file)
	if old, err := s.Get(name); err == nil && slices.Equal(old.Tags, list) && os.Chtimes(path, at, at) == nil {
		return out, nil
	}
	if err := replace(path, data, file == compressed, at); err != nil {
		return out, fmt.Errorf("write to the database of tags: %w; check the free space and the permissions of --storage-path", err)
	}
	if err := os.Remove(filepath.Join(s.dir(name), other)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return out, fmt.Errorf("write to the database of tags: %w", err)
	}
	return out, nil
}

// replace writes a file aside and moves it into its place.
func replace(path string, data []byte, zip bool, at time.Time) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tags-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if zip {
		w := gzip.NewWriter(f)
		_, err = w.Write(data)
		err = errors.Join(err, w.Close())
	} else {
		_, err = f.Write(data)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Chtimes(f.Name(), at, at); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Get returns what is known of a repository, ErrNone if nothing is. A list that cannot be read is as good as none.
func (s *Store) Get(name types.NamespacedName) (List, error) {
	list, err := s.read(filepath.Join(s.dir(name), plain))
	if errors.Is(err, fs.ErrNotExist) {
		list, err = s.read(filepath.Join(s.dir(name), compressed))
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errDamaged) {
		return List{}, ErrNone
	}
	return list, err
}

var errDamaged = errors.New("damaged")

func (s *Store) read(path string) (List, error) {
	f, err := os.Open(path)
	if err != nil {
		return List{}, err
	}
	defer f.Close() //nolint:errcheck // read only
	info, err := f.Stat()
	if err != nil {
		return List{}, err
	}
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			return List{}, errDamaged
		}
	}
	data, err := io.ReadAll(io.LimitReader(r, maxList+1))
	if err != nil || len(data) > maxList {
		return List{}, errDamaged
	}
	list := []string{}
	if len(data) > 0 {
		list = strings.Split(string(data), "\n")
	}
	return List{Tags: list, Revision: s.revision(list), Scanned: info.ModTime()}, nil
}

// revision is a checksum of a sorted list.
func (s *Store) revision(list []string) string {
	if s.Digests {
		sum := sha256.Sum256([]byte(strings.Join(list, "\n")))
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	if list == nil {
		list = []string{}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	_ = e.Encode(list) // Strings always encode.
	return strconv.FormatUint(uint64(adler32.Checksum(bytes.TrimSuffix(b.Bytes(), []byte("\n")))), 10)
}

// Delete forgets a repository.
func (s *Store) Delete(name types.NamespacedName) error {
	if err := os.RemoveAll(s.dir(name)); err != nil {
		return err
	}
	_ = os.Remove(filepath.Dir(s.dir(name))) // fails while others of the namespace are there
	return nil
}

// Collect forgets the repositories that alive does not know, and returns how many.
func (s *Store) Collect(alive func(types.NamespacedName) (bool, error)) (removed int, err error) {
	namespaces, err := os.ReadDir(filepath.Join(s.Dir, kind))
	if err != nil {
		return 0, err
	}
	for _, ns := range namespaces {
		names, err := os.ReadDir(filepath.Join(s.Dir, kind, ns.Name()))
		if err != nil {
			return removed, err
		}
		for _, n := range names {
			key := types.NamespacedName{Namespace: ns.Name(), Name: n.Name()}
			if there, err := alive(key); err != nil || there {
				if err != nil {
					return removed, err
				}
				continue
			}
			if err := s.Delete(key); err != nil {
				return removed, err
			}
			removed++
		}
	}
	return removed, nil
}
