// Package pack keeps Git objects on disk in packs, and nothing else: no refs, no network.
//
// A DB is a directory in Git's own layout (objects/pack/pack-<hash>.pack and .idx), so that the git
// program can read and check it. Objects arrive as a pack stream through Receive, which writes the
// stream to disk while it reads it and then builds the index. A thin pack, whose deltas refer to
// objects that are not in it, is completed with those objects, so that every pack stands alone.
//
// Why not go-git's own storage: its pack parser caches up to 96 MiB, unpacks a thin pack into loose
// files that all stay open until the end, and its readers are not safe for concurrent use. Here memory
// is the index (28 bytes an object), one cache of delta bases of fixed size, and the object in hand.
//
// Input is hostile: object count, object size, pack size and inflated size are limited; every name is
// computed, never believed.
package pack

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
)

// Hash is the SHA-1 name of an object.
type Hash = plumbing.Hash

// Type is the type of an object.
type Type = plumbing.ObjectType

var (
	// ErrMissing is returned for an object that the DB does not hold.
	ErrMissing = errors.New("object not found")
	// ErrCorrupt is wrapped by errors that mean that the bytes on disk, or on the wire, are not a pack.
	ErrCorrupt = errors.New("pack is corrupt")
	// ErrLimit is wrapped by errors that mean that the input exceeds a limit.
	ErrLimit = errors.New("limit exceeded")
)

// Limits bounds what Receive takes and what Get loads.
type Limits struct {
	// Objects in one pack.
	Objects uint32
	// PackBytes is the size of one pack on the wire.
	PackBytes int64
	// InflatedBytes is the sum of the sizes of the objects in one pack.
	InflatedBytes int64
	// ObjectBytes is the size of one object that has to be held in memory: commits, trees, tags, and
	// whatever is stored as a delta.
	ObjectBytes int64
	// CacheBytes is the size of the cache of delta bases.
	CacheBytes int64
}

// DefaultLimits leave room for large monorepos and keep a small process small.
var DefaultLimits = Limits{
	Objects:       8 << 20,
	PackBytes:     4 << 30,
	InflatedBytes: 32 << 30,
	ObjectBytes:   128 << 20,
	CacheBytes:    8 << 20,
}

// DB reads and adds objects. All its methods are safe for concurrent use.
type DB struct {
	dir    string
	limits Limits
	cache  *baseCache

	mu    sync.RWMutex
	packs []*file
}

// Open opens the packs below dir, which is created if missing. An index that is damaged is ErrCorrupt.
func Open(dir string, limits Limits) (*DB, error) {
	db := &DB{dir: filepath.Join(dir, "objects", "pack"), limits: limits, cache: newBaseCache(limits.CacheBytes)}
	if err := os.MkdirAll(db.dir, 0o700); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(db.dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".idx")
		if !ok {
			if strings.HasPrefix(e.Name(), tempPrefix) {
				_ = os.Remove(filepath.Join(db.dir, e.Name()))
			}
			continue
		}
		f, err := openFile(filepath.Join(db.dir, name))
		if err != nil {
			_ = db.Close()
			return nil, err
		}
		db.packs = append(db.packs, f)
	}
	return db, nil
}

// Close closes the files. Readers that are still open fail from then on.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	var errs []error
	for _, f := range db.packs {
		errs = append(errs, f.data.Close())
	}
	db.packs = nil
	return errors.Join(errs...)
}

// Has tells whether the object is here.
func (db *DB) Has(h Hash) bool {
	f, _ := db.find(h)
	return f != nil
}

// Size is the number of bytes that packs and indexes take on disk.
func (db *DB) Size() (n int64) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	for _, f := range db.packs {
		n += f.size + int64(len(f.index.raw))
	}
	return n
}

// Get returns type and content of an object of at most Limits.ObjectBytes. The content must not be changed.
func (db *DB) Get(h Hash) (Type, []byte, error) {
	f, off := db.find(h)
	if f == nil {
		return plumbing.InvalidObject, nil, fmt.Errorf("%s: %w", h, ErrMissing)
	}
	t, data, err := db.load(f, off, 0)
	if err != nil {
		return t, nil, fmt.Errorf("read object %s: %w", h, err)
	}
	return t, data, nil
}

// Open returns type, size and content of an object. What is stored whole is streamed; what is stored as
// a delta is rebuilt in memory, and limited by Limits.ObjectBytes.
func (db *DB) Open(h Hash) (Type, int64, io.ReadCloser, error) {
	f, off := db.find(h)
	if f == nil {
		return plumbing.InvalidObject, 0, nil, fmt.Errorf("%s: %w", h, ErrMissing)
	}
	hd, err := f.header(off)
	if err != nil {
		return plumbing.InvalidObject, 0, nil, fmt.Errorf("read object %s: %w", h, err)
	}
	if !hd.typ.IsDelta() {
		r, err := f.inflate(hd)
		return hd.typ, hd.size, r, err
	}
	t, data, err := db.load(f, off, 0)
	if err != nil {
		return t, 0, nil, fmt.Errorf("read object %s: %w", h, err)
	}
	return t, int64(len(data)), io.NopCloser(bytes.NewReader(data)), nil
}

func (db *DB) find(h Hash) (*file, int64) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	for i := len(db.packs) - 1; i >= 0; i-- { // The newest first: most reads are of what came last.
		if off, ok := db.packs[i].index.find(h); ok {
			return db.packs[i], off
		}
	}
	return nil, 0
}

// maxChain is Git's own limit on the length of a delta chain.
const maxChain = 4095

// load rebuilds the object at an offset. The recursion is as deep as the delta chain.
func (db *DB) load(f *file, off int64, depth int) (Type, []byte, error) {
	if depth > maxChain {
		return plumbing.InvalidObject, nil, fmt.Errorf("delta chain of more than %d: %w", maxChain, ErrCorrupt)
	}
	if t, data, ok := db.cache.get(f, off); ok {
		return t, data, nil
	}
	hd, err := f.header(off)
	if err != nil {
		return plumbing.InvalidObject, nil, err
	}
	if hd.size > db.limits.ObjectBytes {
		return hd.typ, nil, fmt.Errorf("object of %d bytes, %d allowed: %w", hd.size, db.limits.ObjectBytes, ErrLimit)
	}
	data, err := f.read(hd)
	if err != nil {
		return hd.typ, nil, err
	}
	typ := hd.typ
	if typ.IsDelta() {
		base := hd.base
		if typ == plumbing.REFDeltaObject {
			var ok bool
			if base, ok = f.index.find(hd.ref); !ok {
				return typ, nil, fmt.Errorf("delta base %s is not in its pack: %w", hd.ref, ErrCorrupt)
			}
		}
		t, baseData, err := db.load(f, base, depth+1)
		if err != nil {
			return typ, nil, err
		}
		if data, err = patch(baseData, data, db.limits.ObjectBytes); err != nil {
			return typ, nil, err
		}
		typ = t
	}
	db.cache.put(f, off, typ, data)
	return typ, data, nil
}

// Stat returns the size of an object without reading it: of a delta, only its first bytes.
func (db *DB) Stat(h Hash) (int64, error) {
	f, off := db.find(h)
	if f == nil {
		return 0, fmt.Errorf("%s: %w", h, ErrMissing)
	}
	hd, err := f.header(off)
	if err != nil || !hd.typ.IsDelta() {
		return hd.size, err
	}
	r, err := f.inflate(hd)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	start := make([]byte, min(hd.size, maxHeader))
	if _, err := io.ReadFull(r, start); err != nil {
		return 0, fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	_, rest, err := deltaSize(start)
	if err != nil {
		return 0, err
	}
	size, _, err := deltaSize(rest)
	return size, err
}
