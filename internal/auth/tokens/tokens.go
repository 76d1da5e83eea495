// Package tokens keeps what proves an identity for a while, such as access tokens: one request gets it for all who ask
// for the same key, and it is used for four fifths of its life.
package tokens

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a Cache. The zero value is fit for use.
type Options struct {
	// Size is how many values are kept, 0 for 100; less than 0 keeps none.
	Size int
	// MaxAge is how long a value is used at most, 0 for an hour.
	MaxAge time.Duration
	// Now is the clock, time.Now if nil.
	Now func() time.Time
}

// Cache keeps values until shortly before they end. It is safe for concurrent use.
type Cache[T any] struct {
	opts Options

	mu      sync.Mutex
	entries map[string]*entry[T]
}

// entry is the value of one key; turn is held by the one who asks for it.
type entry[T any] struct {
	turn  chan struct{}
	value T
	until time.Time
	// counted is where the entry stands in the metrics: not yet, counted, or never again.
	counted atomic.Int32
}

// store counts an entry that has got its value, evict one that has to go.
func (e *entry[T]) store() {
	if e.counted.CompareAndSwap(0, 1) {
		items.Inc()
	}
}

func (e *entry[T]) evict() {
	evictions.Inc()
	if e.counted.Swap(2) == 1 {
		items.Dec()
	}
}

// New returns an empty cache.
func New[T any](o Options) *Cache[T] {
	o.Size = cmp.Or(o.Size, 100)
	o.MaxAge = cmp.Or(o.MaxAge, time.Hour)
	if o.Now == nil {
		o.Now = time.Now
	}
	register()
	return &Cache[T]{opts: o, entries: map[string]*entry[T]{}}
}

// Get returns the value of a key and when to ask for it again. ask gets a new one with the time at which it ends; of
// several callers with one key only the first asks. An error is not kept.
func (c *Cache[T]) Get(ctx context.Context, key string, ask func(context.Context) (value T, ends time.Time, err error)) (T, time.Time, error) {
	var none T
	e := c.entry(key)
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return none, time.Time{}, ctx.Err()
	}
	hit := c.opts.Now().Before(e.until)
	asked(ctx, hit)
	if hit {
		return e.value, e.until, nil
	}
	value, ends, err := ask(ctx)
	answered(err)
	if err != nil {
		return none, time.Time{}, err
	}
	now := c.opts.Now()
	life := min(ends.Sub(now)/10*8, c.opts.MaxAge) // in this order: a far end must not overflow
	e.value, e.until = value, now.Add(max(life, 0))
	if c.opts.Size > 0 {
		e.store()
	}
	return value, e.until, nil
}

func (c *Cache[T]) entry(key string) *entry[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		e = &entry[T]{turn: make(chan struct{}, 1)}
	}
	if c.opts.Size > 0 {
		if len(c.entries) >= c.opts.Size && c.entries[key] == nil {
			for old, gone := range c.entries { // Any: each costs one request to get back.
				delete(c.entries, old)
				gone.evict()
				break
			}
		}
		c.entries[key] = e
	}
	return e
}
