package plugin

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// maxProgram bounds an unpacked program, in bytes.
const maxProgram = 1 << 30

// fetch downloads a release into dir, checks it, and returns the path of the program in it.
func (c catalog) fetch(ctx context.Context, p platform, name, dir string) (string, error) {
	archive := filepath.Join(dir, "download")
	if err := c.download(ctx, p, archive); err != nil {
		return "", err
	}
	wanted := p.ExtractPath
	if wanted == "" {
		wanted = fileName(name)
	}
	program := filepath.Join(dir, "program")
	if err := extract(archive, path.Clean(wanted), program); err != nil {
		return "", fmt.Errorf("unpack %s: %w", p.URL, err)
	}
	return program, nil
}

// download keeps nothing whose checksum differs.
func (c catalog) download(ctx context.Context, p platform, into string) error {
	want, ok := strings.CutPrefix(p.Checksum, "sha256:")
	if !ok || len(want) != 2*sha256.Size {
		return fmt.Errorf("the catalog gives no sha256 checksum for %s", p.URL)
	}
	body, err := c.get(ctx, p.URL)
	if err != nil {
		return err
	}
	defer body.Close()
	file, err := os.OpenFile(into, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(file, sum), io.LimitReader(body, maxDownload+1))
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("download %s: %w", p.URL, err)
	}
	if n > maxDownload {
		return fmt.Errorf("%s is larger than %d bytes", p.URL, maxDownload)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); !strings.EqualFold(got, want) {
		return fmt.Errorf("%s has the checksum sha256:%s, not %s as the catalog says: it is not installed", p.URL, got, p.Checksum)
	}
	return nil
}

// extract finds the program in a tar, tar.gz or zip; any other file is the program itself.
func extract(archive, wanted, into string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	head := make([]byte, 512)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it is empty")
	}
	head = head[:n]
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")):
		return extractZip(file, wanted, into)
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		zipped, err := gzip.NewReader(file)
		if err != nil {
			return err
		}
		return extractTar(zipped, wanted, into)
	case len(head) > 262 && string(head[257:262]) == "ustar":
		return extractTar(file, wanted, into)
	}
	return write(file, into)
}

func extractTar(r io.Reader, wanted, into string) error {
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("it has no file %q", wanted)
		}
		if err != nil {
			return err
		}
		if header.Typeflag == tar.TypeReg && path.Clean(header.Name) == wanted {
			return write(archive, into)
		}
	}
}

func extractZip(file *os.File, wanted, into string) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	archive, err := zip.NewReader(file, info.Size())
	if err != nil {
		return err
	}
	for _, entry := range archive.File {
		if path.Clean(entry.Name) != wanted || !entry.Mode().IsRegular() {
			continue
		}
		r, err := entry.Open()
		if err != nil {
			return err
		}
		defer r.Close()
		return write(r, into)
	}
	return fmt.Errorf("it has no file %q", wanted)
}

func write(r io.Reader, into string) error {
	file, err := os.OpenFile(into, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	n, err := io.Copy(file, io.LimitReader(r, maxProgram+1))
	if err == nil && n > maxProgram {
		err = fmt.Errorf("the program is larger than %d bytes", maxProgram)
	}
	return errors.Join(err, file.Chmod(0o755), file.Close())
}
