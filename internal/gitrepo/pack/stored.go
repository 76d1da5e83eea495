package pack

import "slices"

// Sizer tells how many bytes objects take in the packs as they were when it was made.
type Sizer struct {
	db      *DB
	offsets map[*file][]int64 // of each pack's objects, ascending
}

// Sizer reads where the objects of all packs begin; it holds 8 bytes per object.
func (db *DB) Sizer() *Sizer {
	db.mu.RLock()
	defer db.mu.RUnlock()
	s := &Sizer{db: db, offsets: map[*file][]int64{}}
	for _, f := range db.packs {
		offsets := make([]int64, 0, f.index.count+1)
		for i := range f.index.count {
			if off, ok := f.index.offset(i); ok {
				offsets = append(offsets, off)
			}
		}
		slices.Sort(offsets)
		s.offsets[f] = append(offsets, f.size-hashSize)
	}
	return s
}

// Size returns the bytes that the object takes in its pack and index, without the bases of a
// delta; zero where the object is not here.
func (s *Sizer) Size(h Hash) int64 {
	f, off := s.db.find(h)
	offsets := s.offsets[f]
	i, ok := slices.BinarySearch(offsets, off)
	if f == nil || !ok || i+1 >= len(offsets) {
		return 0
	}
	const indexed = hashSize + 8 // name, checksum and offset
	return offsets[i+1] - off + indexed
}
