// Package cache downloads and unpacks each artifact once for the whole process.
//
// Acquire returns a Tree: a read-only directory, shared by everybody who acquired the same digest and
// kept until the last one has released it; after that it stays until the room is needed, the least
// recently used first. Callers that come while an artifact is on its way wait for the same download;
// it ends early only when all of them have gone.
//
// A tree knows a digest for each of its files and directories, computed while it was unpacked. Equal
// digests mean that nothing in there differs, names, content and x bits included, so a consumer that
// notes the digests of what it read can tell for a new artifact, without reading it, whether that
// concerns it.
//
// What is published on disk is whole: it is unpacked aside and renamed. After a restart a tree is
// used again once each file has been held against its digest.
//
// The key is the digest alone. Who can name the digest of another's artifact could as well name its
// URL, and would get it from there: artifact servers do not ask who is asking.
package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/internal/lockfile"
	"github.com/gitops-toolkit/flux/internal/artifact/unpack"
)

// DefaultMaxBytes bounds a cache unless said otherwise.
const DefaultMaxBytes = 1 << 30

// ErrInUse says that another process uses the directory of the cache.
var ErrInUse = errors.New("the directory is in use by another process")

// ErrFull says that there is no room for an artifact, even with all others out of the cache.
var ErrFull = errors.New("no space left for unpacked artifacts")

// Fetcher downloads and verifies an artifact into a file; *fetch.Client does.
type Fetcher interface {
	Fetch(ctx context.Context, ref artifact.Ref, f *os.File) error
}

// Options configure a cache. Dir and Fetcher are required.
type Options struct {
	// Dir is the directory of the cache, used by this process alone.
	Dir string
	// MaxBytes bounds what is on disk, 0 for DefaultMaxBytes. Trees in use may exceed it.
	MaxBytes int64
	Fetcher  Fetcher
	// Limits of the archives that are unpacked.
	Limits unpack.Limits
}

// Cache is a cache of unpacked artifacts. It is safe for concurrent use.
type Cache struct {
	opts Options
	lock *os.File
	temp atomic.Uint64

	mu      sync.Mutex
	entries map[artifact.Digest]*entry
	bytes   int64
	clock   uint64
	loading sync.WaitGroup

	// fail is called at each step of a download; tests end the world there.
	fail func(step string) error
}

// Open opens or creates the cache in opts.Dir and removes what a crash left there.
func Open(opts Options) (*Cache, error) {
	if opts.MaxBytes <= 0 {
		opts.MaxBytes = DefaultMaxBytes
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, err
	}
	opts.Dir = dir
	c := &Cache{opts: opts, entries: map[artifact.Digest]*entry{}}
	if err := c.open(); err != nil {
		return nil, fmt.Errorf("artifact cache in '%s': %w", dir, errors.Join(err, c.Close()))
	}
	return c, nil
}

func (c *Cache) open() error {
	if err := os.MkdirAll(c.opts.Dir, 0o700); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(c.opts.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if c.lock = lock; !lockfile.TryLock(lock) {
		return ErrInUse
	}
	if err := removeTree(c.tempDir()); err != nil {
		return err
	}
	for _, dir := range []string{c.tempDir(), c.treesDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	return c.scan()
}

// scan lists what is on disk from before; each is verified when it is first acquired.
func (c *Cache) scan() error {
	found, err := os.ReadDir(c.treesDir())
	if err != nil {
		return err
	}
	for _, d := range found {
		algorithm, sum, _ := strings.Cut(d.Name(), "-")
		digest, err := artifact.ParseDigest(algorithm + ":" + sum)
		if err != nil {
			if err := removeTree(filepath.Join(c.treesDir(), d.Name())); err != nil {
				return err
			}
			continue
		}
		c.entries[digest] = &entry{digest: digest, bytes: measure(c.dir(digest)), onDisk: true}
		c.bytes += c.entries[digest].bytes
	}
	return nil
}

// Close waits for downloads to end, which it cancels, and lets go of the directory. Trees must have
// been released.
func (c *Cache) Close() error {
	c.mu.Lock()
	for _, e := range c.entries {
		if e.load != nil {
			e.load.cancel(errors.New("the artifact cache is closed"))
		}
	}
	c.mu.Unlock()
	c.loading.Wait()
	if c.lock == nil {
		return nil
	}
	return c.lock.Close()
}

func (c *Cache) tempDir() string  { return filepath.Join(c.opts.Dir, "tmp") }
func (c *Cache) treesDir() string { return filepath.Join(c.opts.Dir, "trees") }

// dir is where the tree of a digest is published.
func (c *Cache) dir(d artifact.Digest) string {
	return filepath.Join(c.treesDir(), string(d.Algorithm())+"-"+d.Hex())
}

// newTemp returns a path below tempDir that nothing has yet.
func (c *Cache) newTemp() string {
	return filepath.Join(c.tempDir(), fmt.Sprint(c.temp.Add(1)))
}

func (c *Cache) at(step string) error {
	if c.fail == nil {
		return nil
	}
	return c.fail(step)
}

// prepare makes the tree of a digest ready: from disk if it is there and whole, else by download.
func (c *Cache) prepare(ctx context.Context, ref artifact.Ref, onDisk bool) (index *index, bytes int64, err error) {
	defer func() { // the archive is hostile, and other consumers live in this process
		if r := recover(); r != nil {
			err = fmt.Errorf("unpacking '%s' panicked: %v", ref.Digest, r)
		}
	}()
	if onDisk {
		if index, err := verify(ctx, c.dir(ref.Digest)); err == nil {
			return index, measure(c.dir(ref.Digest)), nil
		}
		if ctx.Err() != nil {
			return nil, 0, context.Cause(ctx)
		}
	}
	temp := c.newTemp()
	index, err = c.download(ctx, ref, temp)
	if err != nil {
		return nil, 0, errors.Join(err, removeTree(temp))
	}
	bytes = measure(temp)
	damaged, err := c.moveAway(ref.Digest)
	if err == nil {
		err = os.MkdirAll(c.treesDir(), 0o700) // Somebody may have emptied the volume.
	}
	if err == nil {
		err = os.Rename(temp, c.dir(ref.Digest))
	}
	c.bury([]string{damaged})
	if err != nil {
		return nil, 0, errors.Join(err, removeTree(temp))
	}
	return index, bytes, c.at("published")
}

// download fetches, verifies and unpacks an artifact into a new directory.
func (c *Cache) download(ctx context.Context, ref artifact.Ref, temp string) (*index, error) {
	if err := os.MkdirAll(filepath.Join(temp, treeName), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(temp, "archive"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	// nothing is unpacked before the last byte is verified
	err = c.opts.Fetcher.Fetch(ctx, ref, f)
	var index *index
	if err == nil {
		index, err = c.unpack(ctx, f, temp)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if err := errors.Join(os.Remove(f.Name()), index.write(filepath.Join(temp, indexName))); err != nil {
		return nil, err
	}
	if err := seal(filepath.Join(temp, treeName)); err != nil {
		return nil, err
	}
	return index, c.at("sealed")
}

func (c *Cache) unpack(ctx context.Context, f *os.File, temp string) (*index, error) {
	if err := c.at("downloaded"); err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	result, err := unpack.TarGz(ctx, f, filepath.Join(temp, treeName), c.opts.Limits)
	if err != nil {
		return nil, err
	}
	return newIndex(result), c.at("unpacked")
}

// moveAway takes a published tree out of sight and returns where it is to be removed from, or ""
// if there was none.
func (c *Cache) moveAway(d artifact.Digest) (string, error) {
	temp := c.newTemp()
	err := os.Rename(c.dir(d), temp)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	return temp, err
}
