package pack

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/klauspost/compress/zlib"
)

// file is one pack with its index. It is read by position, so any number of readers may share it.
type file struct {
	path  string // without extension
	data  *os.File
	size  int64
	index *index
}

func openFile(path string) (*file, error) {
	idx, err := readIndex(path + ".idx")
	if err != nil {
		return nil, err
	}
	data, err := os.Open(path + ".pack")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	info, err := data.Stat()
	if err != nil {
		_ = data.Close()
		return nil, err
	}
	return &file{path: path, data: data, size: info.Size(), index: idx}, nil
}

// objectHeader is what stands before the compressed bytes of an object.
type objectHeader struct {
	typ  Type
	size int64 // of the inflated bytes
	ref  Hash  // base of a REF delta
	base int64 // offset of the base of an OFS delta
	data int64 // offset of the compressed bytes
}

// maxHeader is longer than any object header: 10 bytes of size and 20 of a hash.
const maxHeader = 32

func (f *file) header(off int64) (objectHeader, error) {
	buf := make([]byte, maxHeader)
	n, err := f.data.ReadAt(buf, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return objectHeader{}, err
	}
	hd, used, err := parseHeader(bytes.NewReader(buf[:n]), off)
	hd.data = off + int64(used)
	return hd, err
}

// parseHeader reads an object header that begins at offset off; it returns how many bytes it took.
func parseHeader(r io.ByteReader, off int64) (hd objectHeader, used int, err error) {
	next := func() (b byte) {
		if err == nil {
			b, err = r.ReadByte()
			used++
		}
		return b
	}
	b := next()
	hd.typ = Type(b >> 4 & 7)
	size := uint64(b & 15)
	for shift := 4; b&0x80 != 0 && err == nil; shift += 7 {
		if shift > 57 {
			return hd, used, fmt.Errorf("object size is too large: %w", ErrCorrupt)
		}
		b = next()
		size |= uint64(b&0x7f) << shift
	}
	hd.size = int64(size)
	switch hd.typ {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
	case plumbing.OFSDeltaObject:
		b = next()
		dist := int64(b & 0x7f)
		for b&0x80 != 0 && err == nil {
			if dist > 1<<48 {
				return hd, used, fmt.Errorf("delta offset is too large: %w", ErrCorrupt)
			}
			b = next()
			dist = (dist+1)<<7 | int64(b&0x7f)
		}
		if hd.base = off - dist; err == nil && (dist <= 0 || hd.base < packHeaderSize) {
			return hd, used, fmt.Errorf("delta base outside the pack: %w", ErrCorrupt)
		}
	case plumbing.REFDeltaObject:
		for i := range hd.ref {
			hd.ref[i] = next()
		}
	default:
		return hd, used, fmt.Errorf("object type %d: %w", hd.typ, ErrCorrupt)
	}
	if err != nil {
		return hd, used, fmt.Errorf("object header: %w: %w", err, ErrCorrupt)
	}
	return hd, used, nil
}

// read inflates an object, or a delta, into memory. The caller has checked its size.
func (f *file) read(hd objectHeader) ([]byte, error) {
	r, err := f.inflate(hd)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data := make([]byte, hd.size)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	// One more read makes zlib compare its checksum, and finds an object longer than it says.
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("object is longer than its header says: %w", ErrCorrupt)
	}
	return data, nil
}

// decompressor is a zlib reader with its buffer; both are worth keeping.
type decompressor struct {
	br *bufio.Reader
	zr io.ReadCloser
}

var decompressors = sync.Pool{New: func() any { return &decompressor{br: bufio.NewReaderSize(nil, 4<<10)} }}

// reset makes the decompressor read from r: exactly as far as the compressed bytes reach if r can give
// single bytes, and through its own buffer otherwise.
func (d *decompressor) reset(r io.Reader) (err error) {
	if _, exact := r.(io.ByteReader); !exact {
		d.br.Reset(r)
		r = d.br
	}
	if d.zr == nil {
		d.zr, err = zlib.NewReader(r)
		return err
	}
	return d.zr.(zlib.Resetter).Reset(r, nil)
}

// inflate streams the content of an object. What is not exactly hd.size bytes long ends in ErrCorrupt.
func (f *file) inflate(hd objectHeader) (io.ReadCloser, error) {
	return newInflater(io.NewSectionReader(f.data, hd.data, f.size-hd.data), hd.size)
}

// inflater reads one object and checks its length.
type inflater struct {
	d    *decompressor
	left int64
}

func newInflater(r io.Reader, size int64) (*inflater, error) {
	d := decompressors.Get().(*decompressor)
	if err := d.reset(r); err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	return &inflater{d: d, left: size}, nil
}

func (i *inflater) Read(p []byte) (int, error) {
	if i.d == nil {
		return 0, os.ErrClosed
	}
	n, err := i.d.zr.Read(p)
	if i.left -= int64(n); i.left < 0 {
		return 0, fmt.Errorf("object is longer than its header says: %w", ErrCorrupt)
	}
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF) && i.left == 0:
		return n, io.EOF
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, fmt.Errorf("%w: %w", err, ErrCorrupt)
}

func (i *inflater) Close() error {
	if i.d != nil {
		decompressors.Put(i.d)
		i.d = nil
	}
	return nil
}
