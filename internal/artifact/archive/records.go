package archive

import (
	"crypto/sha256"
	"sync"
)

// sum names content: a member, or what a directory came to.
type sum = [sha256.Size]byte

// record is what one directory came to under some rules: all that a later archive needs to know of
// it if it has not changed.
type record struct {
	entries int
	bytes   int64
	// content names everything in the directory.
	content sum
	// members that make up the directory, nil if it is small and shares a member with neighbours.
	members []sum
}

// records remembers across archives. Each part is bounded and forgets what was not used lately.
type records struct {
	dirs     generations[sum, record]
	patterns generations[string, bool]
	sizes    generations[string, int64]
}

func newRecords() *records {
	const limit = 1 << 14
	r := &records{}
	r.dirs.limit, r.patterns.limit, r.sizes.limit = limit, limit, 2*limit
	return r
}

// generations is a map of at most twice limit entries: when the young half is full it becomes the
// old half, and what was old and not used since is forgotten.
type generations[K comparable, V any] struct {
	limit      int
	mu         sync.Mutex
	young, old map[K]V
}

func (g *generations[K, V]) get(key K) (V, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v, found := g.young[key]; found {
		return v, true
	}
	v, found := g.old[key]
	if found {
		g.add(key, v)
	}
	return v, found
}

func (g *generations[K, V]) put(key K, value V) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.add(key, value)
}

func (g *generations[K, V]) add(key K, value V) {
	if g.young == nil || len(g.young) >= g.limit {
		g.old, g.young = g.young, make(map[K]V)
	}
	g.young[key] = value
}
