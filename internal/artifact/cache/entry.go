package cache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"weak"

	"github.com/gitops-toolkit/flux/internal/artifact"
)

// entry is one artifact that is in the cache or on its way.
type entry struct {
	digest artifact.Digest
	bytes  int64
	// used is when the entry was last wanted, by the cache's own clock.
	used uint64
	// holders have acquired the tree and not released it, or wait for it.
	holders int
	onDisk  bool
	// verified says that the tree was unpacked or held against its index by this process.
	verified bool
	// index is kept as long as somebody holds the tree, and longer if memory allows.
	index weak.Pointer[index]
	// load is set while the tree is being made ready.
	load *load
}

// load is the work that makes a tree ready, shared by all who wait for it.
type load struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
	index  *index
	err    error
	// abandoned says that all who waited had gone before it was done.
	abandoned bool
}

var errNobodyWaits = errors.New("nobody waits for the artifact any more")

// Acquire returns the tree of an artifact, downloading and unpacking it unless that has been done.
// The caller must release the tree. The errors are those of the fetcher and of package unpack.
func (c *Cache) Acquire(ctx context.Context, ref artifact.Ref) (*Tree, error) {
	digest, err := artifact.ParseDigest(string(ref.Digest))
	if err != nil {
		return nil, fmt.Errorf("failed to verify archive: %w", err)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for {
		e, l := c.join(ctx, digest, ref)
		if l == nil {
			return c.tree(e)
		}
		select {
		case <-l.done:
		case <-ctx.Done():
			c.leave(e)
			return nil, context.Cause(ctx)
		}
		if l.err == nil {
			return c.newTree(e, l.index), nil
		}
		c.leave(e)
		if !l.abandoned { // else it was ending because of those who came before
			return nil, l.err
		}
	}
}

// join makes the caller a holder of the entry. If the tree is not ready it also returns the load to
// wait for.
func (c *Cache) join(ctx context.Context, digest artifact.Digest, ref artifact.Ref) (*entry, *load) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[digest]
	if e == nil {
		e = &entry{digest: digest}
		c.entries[digest] = e
	}
	e.holders++
	c.touch(e)
	if e.verified {
		return e, nil
	}
	if e.load == nil {
		c.start(ctx, e, ref)
	}
	return e, e.load
}

// touch marks an entry as used now.
func (c *Cache) touch(e *entry) {
	c.clock++
	e.used = c.clock
}

// start begins the load of an entry. It outlives the context of the caller, who may not be the only
// one to wait for it.
func (c *Cache) start(ctx context.Context, e *entry, ref artifact.Ref) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	l := &load{cancel: cancel, done: make(chan struct{})}
	e.load = l
	onDisk := e.onDisk
	c.loading.Go(func() {
		index, bytes, err := c.prepare(ctx, ref, onDisk)
		if isFull(err) && c.shrink() {
			index, bytes, err = c.prepare(ctx, ref, false)
		}
		if isFull(err) {
			err = fmt.Errorf("%w: enlarge the volume of '%s': %w", ErrFull, c.opts.Dir, err)
		}
		cancel(nil)
		c.finish(e, l, index, bytes, err)
	})
}

// finish records the outcome of a load and lets its holders go on.
func (c *Cache) finish(e *entry, l *load, index *index, bytes int64, err error) {
	c.mu.Lock()
	l.index, l.err = index, err
	if c.entries[e.digest] == e {
		c.bytes += bytes - e.bytes
		e.bytes = bytes
		e.onDisk, e.verified = err == nil, err == nil
		e.load = nil
		if err != nil {
			delete(c.entries, e.digest) // the next one to ask tries again
		} else {
			e.index = weak.Make(index)
		}
	}
	close(l.done)
	gone := c.evict()
	c.mu.Unlock()
	c.bury(gone)
}

// leave ends the interest of one holder.
func (c *Cache) leave(e *entry) {
	c.mu.Lock()
	e.holders--
	if e.holders == 0 && e.load != nil {
		e.load.abandoned = true
		e.load.cancel(errNobodyWaits)
	}
	gone := c.evict()
	c.mu.Unlock()
	c.bury(gone)
}

// evict takes entries that nobody holds out of the cache until it fits, the least recently used
// first. They are out of sight when it returns; bury removes them.
func (c *Cache) evict() (gone []string) {
	if c.bytes <= c.opts.MaxBytes {
		return nil
	}
	var idle []*entry
	for _, e := range c.entries {
		if e.holders == 0 && e.load == nil {
			idle = append(idle, e)
		}
	}
	slices.SortFunc(idle, func(a, b *entry) int { return int(a.used) - int(b.used) })
	for _, e := range idle {
		if c.bytes <= c.opts.MaxBytes {
			break
		}
		if temp, err := c.moveAway(e.digest); err == nil {
			gone = append(gone, temp)
			delete(c.entries, e.digest)
			c.bytes -= e.bytes
		}
	}
	return gone
}

// shrink removes every tree that nobody holds and reports whether there was one.
func (c *Cache) shrink() bool {
	c.mu.Lock()
	limit := c.opts.MaxBytes
	c.opts.MaxBytes = 0
	gone := c.evict()
	c.opts.MaxBytes = limit
	c.mu.Unlock()
	c.bury(gone)
	return len(gone) > 0
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// bury removes what evict has taken out. What cannot be removed is tried again at the next start.
func (c *Cache) bury(gone []string) {
	for _, dir := range gone {
		if dir == "" {
			continue
		}
		removeTree(dir) //nolint:errcheck // see above
	}
}

// tree returns the tree of an entry that is ready and held.
func (c *Cache) tree(e *entry) (*Tree, error) {
	c.mu.Lock()
	index := e.index.Value()
	c.mu.Unlock()
	if index != nil {
		return c.newTree(e, index), nil
	}
	index, err := readIndex(c.dir(e.digest))
	if err != nil { // somebody has damaged the cache: make the tree again
		c.mu.Lock()
		e.verified = false
		c.mu.Unlock()
		c.leave(e)
		return nil, fmt.Errorf("artifact cache: %w; it is downloaded again at the next attempt", err)
	}
	c.mu.Lock()
	e.index = weak.Make(index)
	c.mu.Unlock()
	return c.newTree(e, index), nil
}

func (c *Cache) newTree(e *entry, index *index) *Tree {
	return &Tree{dir: treeDir(c.dir(e.digest)), index: index, release: sync.OnceFunc(func() { c.leave(e) })}
}
