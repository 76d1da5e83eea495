package archive

import (
	"bufio"
	"container/list"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Members is a bounded cache on disk of compressed members. A file holds the member and a checksum
// after it; it is written aside and renamed, and a file that a crash has left short or wrong is
// found by its checksum and made again. Nothing is synced: losing it costs time only.
type Members struct {
	dir string
	max int64

	mu    sync.Mutex
	bytes int64
	byKey map[sum]*list.Element
	lru   list.List // of *cached, the most recently used first
}

type cached struct {
	key      sum
	size     int64
	claims   int
	verified bool
}

// DefaultMembersBytes bounds a cache of members unless said otherwise.
const DefaultMembersBytes = 1 << 30

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const checksumSize = 4

// cacheError is a failure of the cache itself, not of what was to be cached.
type cacheError struct{ err error }

func (e *cacheError) Error() string { return "cache of compressed members: " + e.err.Error() }
func (e *cacheError) Unwrap() error { return e.err }

// OpenMembers opens the cache in dir, creating it if need be, and keeps it below maxBytes, 0 for
// DefaultMembersBytes. One process at a time may use a directory.
func OpenMembers(dir string, maxBytes int64) (*Members, error) {
	if maxBytes <= 0 {
		maxBytes = DefaultMembersBytes
	}
	m := &Members{dir: dir, max: maxBytes, byKey: map[sum]*list.Element{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot create the cache of compressed members: %w", err)
	}
	if err := m.load(); err != nil {
		return nil, fmt.Errorf("cannot read the cache of compressed members: %w", err)
	}
	return m, nil
}

// load lists what is in the directory, oldest first, and removes what is not a member.
func (m *Members) load() error {
	type file struct {
		cached
		used time.Time
	}
	var files []file
	err := filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		key, err := hex.DecodeString(d.Name())
		if err != nil || len(key) != len(sum{}) || m.path(sum(key)) != path {
			return os.Remove(path)
		}
		files = append(files, file{cached{key: sum(key), size: info.Size()}, info.ModTime()})
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(files, func(a, b file) int { return a.used.Compare(b.used) })
	for _, f := range files {
		m.insert(&f.cached)
	}
	m.evict()
	return nil
}

func (m *Members) path(key sum) string {
	name := hex.EncodeToString(key[:])
	return filepath.Join(m.dir, name[:2], name)
}

func (m *Members) insert(c *cached) {
	m.byKey[c.key] = m.lru.PushFront(c)
	m.bytes += c.size
}

func (m *Members) remove(e *list.Element) {
	c := m.lru.Remove(e).(*cached)
	delete(m.byKey, c.key)
	m.bytes -= c.size
	os.Remove(m.path(c.key)) //nolint:errcheck // a file that stays is listed again at the next start
}

// evict removes what was not used lately and nobody claims.
func (m *Members) evict() {
	for e := m.lru.Back(); e != nil && m.bytes > m.max; {
		before := e.Prev()
		if e.Value.(*cached).claims == 0 {
			m.remove(e)
		}
		e = before
	}
}

// shrink makes room on the volume, which others may share, by half of what the cache takes.
func (m *Members) shrink() {
	m.mu.Lock()
	defer m.mu.Unlock()
	limit := m.max
	m.max = m.bytes / 2
	m.evict()
	m.max = limit
}

// acquire claims a member, so that it stays until release, and reports whether it is there and whole.
func (m *Members) acquire(key sum) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, found := m.byKey[key]
	if !found {
		return false
	}
	c := e.Value.(*cached)
	if !c.verified {
		if m.check(io.Discard, c) != nil {
			m.remove(e)
			return false
		}
		c.verified = true
		os.Chtimes(m.path(key), time.Time{}, time.Now()) //nolint:errcheck // order of eviction only
	}
	c.claims++
	m.lru.MoveToFront(e)
	return true
}

func (m *Members) release(key sum) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, found := m.byKey[key]; found {
		e.Value.(*cached).claims--
	}
	m.evict()
}

// copy writes a claimed member to w.
func (m *Members) copy(w io.Writer, key sum) error {
	m.mu.Lock()
	e, found := m.byKey[key]
	m.mu.Unlock()
	if !found {
		return fmt.Errorf("compressed member %x is not claimed", key)
	}
	err := m.check(w, e.Value.(*cached))
	var broken *cacheError
	if errors.As(err, &broken) {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.byKey[key] == e {
			m.remove(e)
		}
		return fmt.Errorf("%w; it was removed, try again", err)
	}
	return err
}

// check copies a member to w and verifies its checksum.
func (m *Members) check(w io.Writer, c *cached) (err error) {
	f, err := os.Open(m.path(c.key))
	if err != nil {
		return &cacheError{err}
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := crc32.New(castagnoli)
	body := &ioReader{r: io.LimitReader(f, c.size-checksumSize)}
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	if _, err := io.CopyBuffer(io.MultiWriter(h, w), body, buf[:]); err != nil {
		if body.err != nil {
			return &cacheError{body.err}
		}
		return err
	}
	var want [checksumSize]byte
	if _, err := io.ReadFull(f, want[:]); err != nil {
		return &cacheError{err}
	}
	if binary.BigEndian.Uint32(want[:]) != h.Sum32() {
		return &cacheError{fmt.Errorf("checksum of %x is wrong", c.key)}
	}
	return nil
}

// ioReader remembers the error of its reader.
type ioReader struct {
	r   io.Reader
	err error
}

func (r *ioReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// put stores what write writes and claims it. Errors of the cache itself are a *cacheError.
func (m *Members) put(key sum, write func(io.Writer) error) error {
	path := m.path(key)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return &cacheError{err}
	}
	f, err := os.CreateTemp(filepath.Dir(path), "new-*")
	if err != nil {
		return &cacheError{err}
	}
	size, err := writeChecked(f, write)
	if cerr := f.Close(); err == nil && cerr != nil {
		err = &cacheError{cerr}
	}
	if err == nil {
		if err = m.publish(f.Name(), path, key, size); err == nil {
			return nil
		}
	}
	os.Remove(f.Name()) //nolint:errcheck // removed again at the next start
	return err
}

// publish makes a finished file a member, claimed once.
func (m *Members) publish(temp, path string, key sum, size int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, found := m.byKey[key]; found { // somebody else made the same
		e.Value.(*cached).claims++
		m.lru.MoveToFront(e)
		return os.Remove(temp)
	}
	if err := os.Rename(temp, path); err != nil {
		return &cacheError{err}
	}
	m.insert(&cached{key: key, size: size, claims: 1, verified: true})
	m.evict()
	return nil
}

// writeChecked writes a member and its checksum, and returns the size of both.
func writeChecked(f io.Writer, write func(io.Writer) error) (int64, error) {
	h := crc32.New(castagnoli)
	file := &fileWriter{w: f}
	buffered := bufio.NewWriterSize(file, bufferSize)
	if err := write(io.MultiWriter(buffered, h)); err != nil {
		return 0, err
	}
	if _, err := buffered.Write(binary.BigEndian.AppendUint32(nil, h.Sum32())); err != nil {
		return 0, err
	}
	err := buffered.Flush()
	return file.n, err
}

// fileWriter counts, and marks its errors as those of the cache.
type fileWriter struct {
	w io.Writer
	n int64
}

func (f *fileWriter) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	f.n += int64(n)
	if err != nil {
		return n, &cacheError{err}
	}
	return n, nil
}
