package pack

import (
	"fmt"
	"slices"
	"sort"

	"github.com/go-git/go-git/v5/plumbing"
)

// resolver finds the names of the objects that a pack stores as deltas, and completes a thin pack.
//
// Deltas form trees whose roots are stored whole. Each tree is walked depth first, so that a base is
// mostly still in the cache when its children need it; what fell out is rebuilt.
type resolver struct {
	in      *incoming
	cache   *baseCache
	kind    []Type  // type of the object, where known
	parent  []int32 // index of the delta's base, -1 if stored whole or not yet known
	first   []int32 // first child, -1 if none
	next    []int32 // next sibling, -1 if none
	byHash  map[Hash][]int32
	waiting int // deltas without a name
}

func newResolver(in *incoming) *resolver {
	n := len(in.entries)
	r := &resolver{in: in, cache: newBaseCache(in.db.limits.CacheBytes), byHash: map[Hash][]int32{}}
	r.kind, r.parent = make([]Type, n), make([]int32, n)
	r.first, r.next = make([]int32, n), make([]int32, n)
	for i := range n {
		r.kind[i], r.parent[i], r.first[i], r.next[i] = in.entries[i].typ, -1, -1, -1
	}
	return r
}

func (r *resolver) resolve() error {
	entries := r.in.entries
	for i := range entries {
		e := &entries[i]
		switch e.typ {
		case plumbing.OFSDeltaObject:
			base := sort.Search(i, func(j int) bool { return entries[j].offset >= e.ofs })
			if base == i || entries[base].offset != e.ofs {
				return fmt.Errorf("delta at %d has no base at %d: %w", e.offset, e.ofs, ErrCorrupt)
			}
			r.link(int32(i), int32(base))
			r.waiting++
		case plumbing.REFDeltaObject:
			r.byHash[e.base] = append(r.byHash[e.base], int32(i))
			r.waiting++
		}
	}
	for i := range entries {
		if !entries[i].typ.IsDelta() {
			if err := r.walk(int32(i)); err != nil {
				return err
			}
		}
	}
	if err := r.complete(); err != nil {
		return err
	}
	if r.waiting > 0 {
		return fmt.Errorf("%d deltas without a base: %w", r.waiting, ErrCorrupt)
	}
	return nil
}

func (r *resolver) link(child, base int32) {
	r.parent[child] = base
	r.next[child] = r.first[base]
	r.first[base] = child
}

// walk resolves all deltas that rest on the object, whose name is known.
func (r *resolver) walk(root int32) error {
	stack := []int32{root}
	for len(stack) > 0 {
		base := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		name := r.in.entries[base].hash
		for _, child := range r.byHash[name] {
			if !r.in.entries[child].done {
				r.link(child, base)
			}
		}
		delete(r.byHash, name)
		for child := r.first[base]; child >= 0; child = r.next[child] {
			if err := r.in.ctx.Err(); err != nil {
				return err
			}
			if err := r.settle(child, base); err != nil {
				return err
			}
			stack = append(stack, child)
		}
	}
	return nil
}

// settle computes the name of a delta whose base has one.
func (r *resolver) settle(child, base int32) error {
	r.kind[child] = r.kind[base]
	data, err := r.content(child, 0)
	if err != nil {
		return err
	}
	e := &r.in.entries[child]
	hasher := plumbing.NewHasher(r.kind[child], int64(len(data)))
	hasher.Write(data)
	e.hash, e.done = hasher.Sum(), true
	r.waiting--
	return nil
}

// content rebuilds an object.
func (r *resolver) content(i int32, depth int) ([]byte, error) {
	if depth > maxChain {
		return nil, fmt.Errorf("delta chain of more than %d: %w", maxChain, ErrCorrupt)
	}
	e := &r.in.entries[i]
	if _, data, ok := r.cache.get(r.in.file, e.offset); ok {
		return data, nil
	}
	if limit := r.in.db.limits.ObjectBytes; e.size > limit {
		return nil, fmt.Errorf("object of %d bytes, %d allowed: %w", e.size, limit, ErrLimit)
	}
	data, err := r.in.file.read(objectHeader{typ: e.typ, size: e.size, data: e.data})
	if err != nil {
		return nil, err
	}
	if e.typ.IsDelta() {
		base, err := r.content(r.parent[i], depth+1)
		if err != nil {
			return nil, err
		}
		if data, err = patch(base, data, r.in.db.limits.ObjectBytes); err != nil {
			return nil, err
		}
	}
	if r.first[i] >= 0 {
		r.cache.put(r.in.file, e.offset, r.kind[i], data)
	}
	return data, nil
}

// complete appends to the pack the objects outside it on which its deltas rest.
func (r *resolver) complete() error {
	if len(r.byHash) == 0 {
		return nil
	}
	names := make([]Hash, 0, len(r.byHash))
	for h := range r.byHash {
		names = append(names, h)
	}
	slices.SortFunc(names, func(a, b Hash) int { return slices.Compare(a[:], b[:]) })
	w := &appender{file: r.in.tmp, off: r.in.end}
	for _, name := range names {
		if _, still := r.byHash[name]; !still {
			continue // It turned out to be one of the deltas.
		}
		t, data, err := r.in.db.Get(name)
		if err != nil {
			return fmt.Errorf("base of a thin pack: %w: %w", err, ErrCorrupt)
		}
		e, err := w.add(name, t, data)
		if err != nil {
			return err
		}
		r.in.entries = append(r.in.entries, e)
		r.in.end, r.in.file.size = w.off, w.off
		r.kind, r.parent = append(r.kind, t), append(r.parent, -1)
		r.first, r.next = append(r.first, -1), append(r.next, -1)
		if err := r.walk(int32(len(r.in.entries) - 1)); err != nil {
			return err
		}
	}
	return nil
}
