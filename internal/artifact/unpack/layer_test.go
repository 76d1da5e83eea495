package unpack_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/gitops-toolkit/flux/internal/artifact/unpack"
)

func layerTar(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = 4
		}
		if err := tw.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(tw, "text"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	if _, err := zw.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestLayer unpacks what an image holds, however it is compressed.
func TestLayer(t *testing.T) {
	t.Parallel()
	plain := layerTar(t,
		tar.Header{Typeflag: tar.TypeDir, Name: "usr/", Mode: 0o555},
		tar.Header{Typeflag: tar.TypeReg, Name: "usr/bin/app", Mode: 0o755},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "bin", Linkname: "/usr/bin"},
		tar.Header{Typeflag: tar.TypeSymlink, Name: "up", Linkname: "../../etc"},
		tar.Header{Typeflag: tar.TypeLink, Name: "again", Linkname: "usr/bin/app"},
		tar.Header{Typeflag: tar.TypeChar, Name: "dev/null"},
		tar.Header{Typeflag: tar.TypeReg, Name: "bin/sh", Mode: 0o644},
	)
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"plain": plain, "gzip": gzipped(t, plain), "zstd": enc.EncodeAll(plain, nil)} {
		dir := t.TempDir()
		result, err := unpack.Layer(context.Background(), bytes.NewReader(data), dir, unpack.Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(result.Files) != 2 || len(result.Skipped) != 4 {
			t.Errorf("%s: %+v", name, result)
		}
		for path, mode := range map[string]os.FileMode{"usr/bin/app": 0o700, "bin/sh": 0o600} {
			if info, err := os.Lstat(filepath.Join(dir, path)); err != nil || info.Mode() != mode {
				t.Errorf("%s: %s: %v, %v", name, path, info, err)
			}
		}
	}
}

// failing is a reader that says at its end that all was wrong.
type failing struct{ io.Reader }

var errEnd = errors.New("wrong digest")

func (f failing) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err == io.EOF {
		err = errEnd
	}
	return n, err
}

func TestLayerIsReadToItsEnd(t *testing.T) {
	t.Parallel()
	plain := layerTar(t, tar.Header{Typeflag: tar.TypeReg, Name: "a", Mode: 0o644})
	for _, data := range [][]byte{plain, gzipped(t, plain), append(gzipped(t, plain), make([]byte, 1<<20)...)} {
		if _, err := unpack.Layer(context.Background(), failing{bytes.NewReader(data)}, t.TempDir(), unpack.Limits{}); err == nil {
			t.Error("what the reader said at its end was not heard")
		}
	}
}

func TestHostileLayers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"../up", "/etc/passwd", "a/../../b"} {
		data := layerTar(t, tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644})
		if _, err := unpack.Layer(context.Background(), bytes.NewReader(data), t.TempDir(), unpack.Limits{}); !errors.Is(err, unpack.ErrUnsafe) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var large bytes.Buffer
	tw := tar.NewWriter(&large)
	if err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "zeros", Size: 16 << 20}); err != nil {
		t.Fatal(err)
	}
	if _, err := tw.Write(make([]byte, 16<<20)); err != nil {
		t.Fatal(err)
	}
	bomb := gzipped(t, large.Bytes())
	if _, err := unpack.Layer(context.Background(), bytes.NewReader(bomb), t.TempDir(), unpack.Limits{RatioFloor: 1 << 10}); !errors.Is(err, unpack.ErrLimit) {
		t.Errorf("a bomb: %v", err)
	}
	for _, text := range []string{"", "just text", "\x1f\x8bnot gzip", "\x28\xb5\x2f\xfdnot zstd"} {
		result, err := unpack.Layer(context.Background(), bytes.NewReader([]byte(text)), t.TempDir(), unpack.Limits{})
		if err == nil || len(result.Files) > 0 || text != "\x1f\x8bnot gzip" && text != "\x28\xb5\x2f\xfdnot zstd" && !errors.Is(err, unpack.ErrFormat) {
			t.Errorf("%q: %+v, %v", text, result, err)
		}
	}
}

// FuzzLayer unpacks hostile layers: nothing may come to lie outside, and nothing but files and directories inside.
func FuzzLayer(f *testing.F) {
	f.Add([]byte("\x1f\x8b"))
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	_ = tw.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "/"})
	_ = tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "a/b"})
	_ = tw.Close()
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		above := t.TempDir()
		dir := filepath.Join(above, "in")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		_, _ = unpack.Layer(context.Background(), bytes.NewReader(data), dir, unpack.Limits{Bytes: 1 << 20, Entries: 100})
		if entries, err := os.ReadDir(above); err != nil || len(entries) != 1 {
			t.Errorf("outside: %v, %v", entries, err)
		}
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !d.Type().IsRegular() {
				t.Errorf("%s is %s", path, d.Type())
			}
			return err
		})
	})
}
