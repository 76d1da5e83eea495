package unpack

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// The first bytes of compressed streams.
var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// zstdWindow bounds the memory that a zstd stream may ask for.
const zstdWindow = 64 << 20

// Layer unpacks a layer of an OCI artifact or image into dir, which must exist and be empty: a tar
// stream compressed with gzip, zstd or not at all. Images are full of links and may hold devices;
// they are left out wherever they lead. Names and limits are held to the same rules as in TarGz.
// The whole of r is read, so that a reader that checks a digest at its end has its say.
func Layer(ctx context.Context, r io.Reader, dir string, limits Limits) (result Result, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	compressed := &counter{ctx: ctx, r: r}
	buffered := bufio.NewReaderSize(compressed, 64<<10)
	stream, err := decompress(buffered)
	if err != nil {
		return Result{}, err
	}
	defer stream.Close() //nolint:errcheck // releases memory only
	u := newUnpacker(stream, compressed, root, limits)
	u.lenient = true
	if result, err = u.run(); err != nil {
		return Result{}, err
	}
	if _, err := io.Copy(io.Discard, buffered); err != nil {
		return Result{}, fmt.Errorf("cannot read the layer to its end: %w", err)
	}
	return result, nil
}

func decompress(buffered *bufio.Reader) (io.ReadCloser, error) {
	head, err := buffered.Peek(len(zstdMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("cannot read the layer: %w", err)
	}
	switch {
	case len(head) == 0:
		return nil, noArchive{errors.New("the layer is empty")}
	case bytes.HasPrefix(head, gzipMagic):
		return gzip.NewReader(buffered)
	case bytes.HasPrefix(head, zstdMagic):
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(buffered), nil
}
