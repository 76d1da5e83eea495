package pack

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
)

// index is a version 2 .idx file, held as it is on disk.
type index struct {
	raw   []byte
	count int
}

const (
	hashSize       = 20
	packHeaderSize = 12
	fanoutStart    = 8
	namesStart     = fanoutStart + 256*4
)

var idxMagic = []byte{0xff, 't', 'O', 'c', 0, 0, 0, 2}

func readIndex(path string) (*index, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	idx, err := parseIndex(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return idx, nil
}

func parseIndex(raw []byte) (*index, error) {
	if len(raw) < namesStart+2*hashSize || !bytes.Equal(raw[:8], idxMagic) {
		return nil, fmt.Errorf("not a version 2 index: %w", ErrCorrupt)
	}
	sum := sha1.Sum(raw[:len(raw)-hashSize])
	if !bytes.Equal(sum[:], raw[len(raw)-hashSize:]) {
		return nil, fmt.Errorf("index checksum differs: %w", ErrCorrupt)
	}
	idx := &index{raw: raw}
	idx.count = int(idx.fanout(255))
	if need := namesStart + idx.count*(hashSize+8) + 2*hashSize; len(raw) < need {
		return nil, fmt.Errorf("index of %d bytes for %d objects: %w", len(raw), idx.count, ErrCorrupt)
	}
	return idx, nil
}

func (x *index) fanout(b byte) uint32 {
	return binary.BigEndian.Uint32(x.raw[fanoutStart+int(b)*4:])
}

func (x *index) name(i int) []byte {
	at := namesStart + i*hashSize
	return x.raw[at : at+hashSize]
}

func (x *index) find(h Hash) (int64, bool) {
	lo, hi := 0, int(x.fanout(h[0]))
	if h[0] > 0 {
		lo = int(x.fanout(h[0] - 1))
	}
	if hi > x.count || lo > hi {
		return 0, false
	}
	i := lo + sort.Search(hi-lo, func(i int) bool { return bytes.Compare(x.name(lo+i), h[:]) >= 0 })
	if i >= hi || !bytes.Equal(x.name(i), h[:]) {
		return 0, false
	}
	return x.offset(i)
}

func (x *index) offset(i int) (int64, bool) {
	offsets := namesStart + x.count*(hashSize+4)
	off := binary.BigEndian.Uint32(x.raw[offsets+i*4:])
	if off&0x80000000 == 0 {
		return int64(off), true
	}
	at := offsets + x.count*4 + int(off&0x7fffffff)*8
	if at+8 > len(x.raw)-2*hashSize {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(x.raw[at:])), true
}

// entry is one object of a pack that is being received.
type entry struct {
	hash   Hash
	base   Hash // of a REF delta
	offset int64
	data   int64 // offset of the compressed bytes
	ofs    int64 // base offset of an OFS delta
	size   int64 // inflated, of the delta if it is one
	crc    uint32
	typ    Type
	done   bool // hash is known
}

// writeIndex writes the index of the entries, which it sorts by name, for the pack with the checksum.
func writeIndex(w io.Writer, entries []entry, packSum [hashSize]byte) error {
	slices.SortFunc(entries, func(a, b entry) int { return bytes.Compare(a.hash[:], b.hash[:]) })
	var buf bytes.Buffer
	buf.Grow(namesStart + len(entries)*(hashSize+8) + 2*hashSize)
	buf.Write(idxMagic)
	var fanout [256]uint32
	for i := range entries {
		fanout[entries[i].hash[0]]++
	}
	put := func(v uint32) { buf.Write(binary.BigEndian.AppendUint32(nil, v)) }
	total := uint32(0)
	for _, n := range fanout {
		total += n
		put(total)
	}
	for i := range entries {
		buf.Write(entries[i].hash[:])
	}
	for i := range entries {
		put(entries[i].crc)
	}
	var large []byte
	for i := range entries {
		off := entries[i].offset
		if off < 1<<31 {
			put(uint32(off))
			continue
		}
		put(0x80000000 | uint32(len(large)/8))
		large = binary.BigEndian.AppendUint64(large, uint64(off))
	}
	buf.Write(large)
	buf.Write(packSum[:])
	sum := sha1.Sum(buf.Bytes())
	buf.Write(sum[:])
	_, err := w.Write(buf.Bytes())
	return err
}
