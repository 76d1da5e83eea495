package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
)

// formatVersion is part of the name of every cached member. Digests of archives are a contract with
// running clusters: another compressor version, level or layout means new digests for unchanged
// sources everywhere. TestGolden guards that; when it must change, change this too, so that
// members of both kinds never meet in one archive.
const formatVersion = "1 klauspost/compress v1.19.2"

// level gives the header byte XFL 0 of the tables, as do all but the fastest and the best.
const level = 5

// bufferSize of what is copied at once.
const bufferSize = 64 << 10

var gzipWriters = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(io.Discard, level)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// newGzip returns a writer of one member, whose header carries neither name nor time.
func newGzip(w io.Writer) *gzip.Writer {
	gz := gzipWriters.Get().(*gzip.Writer)
	gz.Reset(w)
	gz.ModTime = time.Unix(0, 0)
	return gz
}

// memberWriter compresses units of a tree.
type memberWriter struct {
	planner *planner
	tar     *tar.Writer
}

// writeMember writes the units as one gzip member.
func writeMember(ctx context.Context, w io.Writer, p *planner, units []unit) error {
	gz := newGzip(w)
	defer gzipWriters.Put(gz)
	m := &memberWriter{planner: p, tar: tar.NewWriter(gz)}
	for _, u := range units {
		if err := m.unit(ctx, u); err != nil {
			return err
		}
	}
	if err := m.tar.Flush(); err != nil {
		return err
	}
	return gz.Close()
}

// writeEnd writes the end of the tar stream as a member of its own, the same in every archive.
func writeEnd(w io.Writer) error {
	gz := newGzip(w)
	defer gzipWriters.Put(gz)
	if _, err := gz.Write(make([]byte, tarEnd)); err != nil {
		return err
	}
	return gz.Close()
}

func (m *memberWriter) unit(ctx context.Context, u unit) error {
	switch {
	case u.whole:
		content, err := m.whole(ctx, u, strings.Split(u.path, "/"))
		if err == nil && content != u.content {
			return fmt.Errorf("directory '%s' changed while it was archived", clip(u.path))
		}
		return err
	case u.entry.Kind == Dir:
		return m.header(u.path, tar.TypeDir, 0o750, 0)
	}
	return m.file(ctx, u)
}

// whole writes a small directory with all that it holds, and returns the name of what it wrote.
func (m *memberWriter) whole(ctx context.Context, d unit, elements []string) (sum, error) {
	children, err := m.planner.children(ctx, d, elements)
	if err != nil {
		return sum{}, err
	}
	units := append([]unit{header(d)}, children...)
	for i := range units {
		u := &units[i]
		switch {
		case i > 0 && u.entry.Kind == Dir:
			u.whole = true
			u.content, err = m.whole(ctx, *u, append(elements[:len(elements):len(elements)], u.entry.Name))
		case u.entry.Kind == Dir:
			err = m.unit(ctx, *u)
		default:
			if err = m.planner.size(ctx, u); err == nil {
				err = m.file(ctx, *u)
			}
		}
		if err != nil {
			return sum{}, err
		}
	}
	return contentOf(units), nil
}

func (m *memberWriter) file(ctx context.Context, u unit) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	r, err := m.planner.tree.Open(ctx, u.path, u.entry.ID)
	if err != nil {
		return fmt.Errorf("cannot read file '%s': %w", clip(u.path), err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	mode := int64(0o600)
	if u.entry.Kind == Executable {
		mode = 0o700
	}
	if err := m.header(u.path, tar.TypeReg, mode, u.entry.Size); err != nil {
		return err
	}
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	n, err := io.CopyBuffer(onlyWriter{m.tar}, &contextReader{ctx, r}, buf[:])
	if errors.Is(err, tar.ErrWriteTooLong) || err == nil && n != u.entry.Size {
		return fmt.Errorf("file '%s' is not %d bytes long as its directory says", clip(u.path), u.entry.Size)
	}
	if err != nil {
		return fmt.Errorf("cannot archive file '%s': %w", clip(u.path), err)
	}
	return nil
}

func (m *memberWriter) header(path string, kind byte, mode, size int64) error {
	err := m.tar.WriteHeader(&tar.Header{Typeflag: kind, Name: path, Mode: mode, Size: size})
	if err != nil {
		return fmt.Errorf("cannot archive '%s': %w", clip(path), err)
	}
	return nil
}

// onlyWriter hides ReadFrom, so that the pooled buffer is used.
type onlyWriter struct{ io.Writer }

// contextReader ends a long copy when the context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
