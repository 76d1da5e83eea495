package pack

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"

	"github.com/go-git/go-git/v5/plumbing"
)

// tempPrefix marks files that are being written; those left by a crash are removed at Open.
const tempPrefix = "tmp_"

// Received says what a pack brought.
type Received struct {
	// Objects is the number of objects on the wire.
	Objects int
	// Bytes is the size of the pack on the wire.
	Bytes int64
}

// Receive reads one pack to its end and adds it. A pack without objects adds nothing. On error the DB is
// as before.
func (db *DB) Receive(ctx context.Context, r io.Reader) (Received, error) {
	tmp, err := os.CreateTemp(db.dir, tempPrefix+"pack_*")
	if err != nil {
		return Received{}, err
	}
	defer os.Remove(tmp.Name())
	in := &incoming{db: db, ctx: ctx, tmp: tmp, file: &file{data: tmp}}
	got, err := in.receive(r)
	if err != nil || got.Objects == 0 {
		_ = tmp.Close()
		return got, err
	}
	if err := db.adopt(tmp, in.entries, in.sum); err != nil {
		_ = tmp.Close()
		return got, err
	}
	return got, nil
}

// incoming is a pack on its way in: first a stream that is written to a file while its objects are
// found, then a file whose deltas are resolved.
type incoming struct {
	db      *DB
	ctx     context.Context
	tmp     *os.File
	file    *file
	entries []entry
	end     int64 // where the objects end and the checksum begins
	sum     [hashSize]byte
}

func (in *incoming) receive(r io.Reader) (Received, error) {
	source, target := &source{r: r}, &target{w: in.tmp}
	got, err := in.stream(source, target)
	switch {
	case target.err != nil:
		err = target.err // It is our disk that failed, not the pack,
	case source.err != nil:
		err = source.err // or the way here.
	}
	if err != nil || got.Objects == 0 {
		return got, err
	}
	in.file.size = in.end
	res := newResolver(in)
	if err := res.resolve(); err != nil {
		return got, err
	}
	if len(in.entries) > got.Objects {
		if err := in.rewriteFrame(); err != nil {
			return got, err
		}
	}
	return got, in.checksums()
}

// stream copies the pack to the file, and notes where each object is and the names of those that are
// stored whole.
func (in *incoming) stream(r io.Reader, w io.Writer) (Received, error) {
	out := bufio.NewWriterSize(w, 64<<10)
	t := &tee{r: r, w: out, sum: sha1.New(), limit: in.db.limits.PackBytes}
	br := bufio.NewReaderSize(t, 32<<10)
	count, err := readPackHeader(br)
	if err != nil {
		return Received{Bytes: t.n}, err
	}
	if count > in.db.limits.Objects {
		return Received{Bytes: t.n}, fmt.Errorf("pack of %d objects, %d allowed: %w", count, in.db.limits.Objects, ErrLimit)
	}
	in.entries = make([]entry, 0, min(count, 1<<16))
	buf := make([]byte, 32<<10)
	left := in.db.limits.InflatedBytes
	for range count {
		if err := in.ctx.Err(); err != nil {
			return Received{Bytes: t.n}, err
		}
		e, err := readObject(br, t, buf)
		if err != nil {
			return Received{Bytes: t.n}, err
		}
		if left -= e.size; left < 0 {
			return Received{Bytes: t.n}, fmt.Errorf("pack inflates to more than %d bytes: %w", in.db.limits.InflatedBytes, ErrLimit)
		}
		in.entries = append(in.entries, e)
	}
	in.end = t.n - int64(br.Buffered())
	if _, err := io.ReadFull(br, in.sum[:]); err != nil {
		return Received{Bytes: t.n}, fmt.Errorf("pack checksum: %w: %w", err, ErrCorrupt)
	}
	if _, err := br.ReadByte(); !errors.Is(err, io.EOF) {
		if err == nil {
			err = fmt.Errorf("bytes after the end of the pack: %w", ErrCorrupt)
		}
		return Received{Bytes: t.n}, err
	}
	if [hashSize]byte(t.sum.Sum(nil)) != in.sum {
		return Received{Bytes: t.n}, fmt.Errorf("pack checksum differs: %w", ErrCorrupt)
	}
	return Received{Objects: int(count), Bytes: t.n}, out.Flush()
}

func readPackHeader(r io.Reader) (count uint32, err error) {
	var h [packHeaderSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return 0, fmt.Errorf("pack header: %w: %w", err, ErrCorrupt)
	}
	if string(h[:4]) != "PACK" || binary.BigEndian.Uint32(h[4:8]) != 2 {
		return 0, fmt.Errorf("not a version 2 pack: %w", ErrCorrupt)
	}
	return binary.BigEndian.Uint32(h[8:]), nil
}

// readObject reads one object from the stream. Its inflated bytes are hashed, not kept.
func readObject(br *bufio.Reader, t *tee, buf []byte) (entry, error) {
	off := t.n - int64(br.Buffered())
	hd, used, err := parseHeader(br, off)
	if err != nil {
		return entry{}, err
	}
	e := entry{offset: off, data: off + int64(used), typ: hd.typ, size: hd.size, base: hd.ref, ofs: hd.base}
	body, err := newInflater(br, hd.size)
	if err != nil {
		return e, fmt.Errorf("object at %d: %w", off, err)
	}
	defer body.Close()
	if hd.typ.IsDelta() {
		_, err = io.CopyBuffer(onlyWriter{io.Discard}, body, buf)
	} else {
		hasher := plumbing.NewHasher(hd.typ, hd.size)
		_, err = io.CopyBuffer(onlyWriter{hasher}, body, buf)
		e.hash, e.done = hasher.Sum(), true
	}
	if err != nil {
		return e, fmt.Errorf("object at %d: %w", off, err)
	}
	return e, nil
}

// onlyWriter hides ReadFrom, so that io.CopyBuffer uses our buffer.
type onlyWriter struct{ io.Writer }

// source remembers why a reader failed.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// target remembers why a writer failed.
type target struct {
	w   io.Writer
	err error
}

func (t *target) Write(p []byte) (int, error) {
	n, err := t.w.Write(p)
	if err != nil {
		t.err = err
	}
	return n, err
}

// tee counts, limits, copies and sums what is read. The sum leaves out the last 20 bytes, which are the
// sum itself.
type tee struct {
	r     io.Reader
	w     io.Writer
	n     int64
	limit int64
	sum   hash.Hash
	tail  []byte
}

func (t *tee) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if n == 0 {
		return 0, err
	}
	if t.n += int64(n); t.n > t.limit {
		return 0, fmt.Errorf("pack of more than %d bytes: %w", t.limit, ErrLimit)
	}
	if _, werr := t.w.Write(p[:n]); werr != nil {
		return 0, werr
	}
	t.tail = append(t.tail, p[:n]...)
	if over := len(t.tail) - hashSize; over > 0 {
		t.sum.Write(t.tail[:over])
		t.tail = append(t.tail[:0], t.tail[over:]...)
	}
	return n, err
}

// rewriteFrame writes header and checksum anew after objects were appended to a thin pack.
func (in *incoming) rewriteFrame() error {
	var h [packHeaderSize]byte
	copy(h[:], "PACK")
	binary.BigEndian.PutUint32(h[4:], 2)
	binary.BigEndian.PutUint32(h[8:], uint32(len(in.entries)))
	if _, err := in.tmp.WriteAt(h[:], 0); err != nil {
		return err
	}
	sum := sha1.New()
	if _, err := io.Copy(sum, io.NewSectionReader(in.tmp, 0, in.end)); err != nil {
		return err
	}
	copy(in.sum[:], sum.Sum(nil))
	if _, err := in.tmp.WriteAt(in.sum[:], in.end); err != nil {
		return err
	}
	return in.tmp.Truncate(in.end + hashSize)
}

// checksums computes the CRC of each object's bytes in the pack, which the index records. The entries
// are in the order of their offsets, and cover the file.
func (in *incoming) checksums() error {
	r := bufio.NewReaderSize(io.NewSectionReader(in.tmp, packHeaderSize, in.end-packHeaderSize), 64<<10)
	for i := range in.entries {
		next := in.end
		if i+1 < len(in.entries) {
			next = in.entries[i+1].offset
		}
		crc := crc32.NewIEEE()
		if _, err := io.CopyN(crc, r, next-in.entries[i].offset); err != nil {
			return err
		}
		in.entries[i].crc = crc.Sum32()
	}
	return nil
}
