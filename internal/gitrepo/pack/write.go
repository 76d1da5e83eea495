package pack

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"

	"github.com/klauspost/compress/zlib"
)

// appender writes objects, whole, at an offset of a file.
type appender struct {
	file *os.File
	off  int64
	buf  bytes.Buffer
	zw   *zlib.Writer
}

func (a *appender) add(name Hash, t Type, data []byte) (entry, error) {
	a.buf.Reset()
	size := uint64(len(data))
	b := byte(t)<<4 | byte(size&15)
	for size >>= 4; size > 0; size >>= 7 {
		a.buf.WriteByte(b | 0x80)
		b = byte(size & 0x7f)
	}
	a.buf.WriteByte(b)
	e := entry{hash: name, typ: t, offset: a.off, data: a.off + int64(a.buf.Len()), size: int64(len(data)), done: true}
	if a.zw == nil {
		a.zw = zlib.NewWriter(&a.buf)
	} else {
		a.zw.Reset(&a.buf)
	}
	if _, err := a.zw.Write(data); err != nil {
		return e, err
	}
	if err := a.zw.Close(); err != nil {
		return e, err
	}
	n, err := a.file.WriteAt(a.buf.Bytes(), a.off)
	a.off += int64(n)
	return e, err
}

// adopt gives the finished pack its name, writes its index, and serves it. Readers see a pack only when
// both files are there, and so does the git program: the index comes last.
func (db *DB) adopt(tmp *os.File, entries []entry, sum [hashSize]byte) error {
	path := filepath.Join(db.dir, "pack-"+hex.EncodeToString(sum[:]))
	idx, err := os.CreateTemp(db.dir, tempPrefix+"idx_*")
	if err != nil {
		return err
	}
	defer os.Remove(idx.Name())
	w := bufio.NewWriter(idx)
	if err := writeIndex(w, entries, sum); err != nil {
		_ = idx.Close()
		return err
	}
	if err := w.Flush(); err != nil {
		_ = idx.Close()
		return err
	}
	if err := idx.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path+".pack"); err != nil {
		return err
	}
	if err := os.Rename(idx.Name(), path+".idx"); err != nil {
		return err
	}
	index, err := readIndex(path + ".idx")
	if err != nil {
		return err
	}
	info, err := tmp.Stat()
	if err != nil {
		return err
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.packs = append(db.packs, &file{path: path, data: tmp, size: info.Size(), index: index})
	return nil
}

// Packs is the number of packs.
func (db *DB) Packs() int {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return len(db.packs)
}

// Compact joins all packs of at most small bytes into one, whole objects and each once, so that many
// small fetches do not leave many small files. There must be no other writer.
func (db *DB) Compact(small int64) error {
	db.mu.RLock()
	var old []*file
	for _, f := range db.packs {
		if f.size <= small {
			old = append(old, f)
		}
	}
	db.mu.RUnlock()
	if len(old) < 2 {
		return nil
	}
	tmp, err := os.CreateTemp(db.dir, tempPrefix+"pack_*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	in := &incoming{db: db, tmp: tmp, end: packHeaderSize}
	if err := in.copyFrom(old); err != nil {
		_ = tmp.Close()
		return err
	}
	if err := db.adopt(tmp, in.entries, in.sum); err != nil {
		_ = tmp.Close()
		return err
	}
	return db.retire(old)
}

func (in *incoming) copyFrom(packs []*file) error {
	w := &appender{file: in.tmp, off: packHeaderSize}
	seen := map[Hash]bool{}
	for _, f := range packs {
		for i := range f.index.count {
			name := Hash(f.index.name(i))
			off, ok := f.index.offset(i)
			if seen[name] || !ok {
				continue
			}
			seen[name] = true
			t, data, err := in.db.load(f, off, 0)
			if err != nil {
				return err
			}
			e, err := w.add(name, t, data)
			if err != nil {
				return err
			}
			in.entries = append(in.entries, e)
		}
	}
	in.end = w.off
	if err := in.rewriteFrame(); err != nil {
		return err
	}
	return in.checksums()
}

// retire forgets packs and removes their files. Readers in their midst keep the open file; it is closed
// when the last of them lets go of it.
func (db *DB) retire(old []*file) error {
	gone := map[*file]bool{}
	for _, f := range old {
		gone[f] = true
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	var keep []*file
	for _, f := range db.packs {
		if !gone[f] {
			keep = append(keep, f)
		}
	}
	db.packs = keep
	for _, f := range old {
		if slices.ContainsFunc(keep, func(k *file) bool { return k.path == f.path }) {
			continue // The joined pack is byte for byte one of the old.
		}
		for _, ext := range []string{".idx", ".pack"} {
			if err := os.Remove(f.path + ext); err != nil {
				return err
			}
		}
	}
	return nil
}
