// Package unpack takes a tar.gz apart that somebody hostile may have made.
//
// All files are created below one directory through os.Root, so that no name, however made, and no
// link leads out of it; besides, names that try are refused, and so are devices, links that leave
// the directory, and archives with more entries, more bytes or a higher ratio than allowed. Links
// that stay inside are left out and reported: artifacts do not carry links, and what follows them
// later need not be as careful. Every error names the entry.
package unpack

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// Limits bound what an archive may ask for. A zero field means its default.
type Limits struct {
	// Entries of any kind; 250,000.
	Entries int
	// Bytes of all files together, and of the uncompressed stream; 16 GiB.
	Bytes int64
	// NameBytes of the paths of all entries together, which are kept in memory; 64 MiB.
	NameBytes int64
	// FileBytes of one file; 4 GiB.
	FileBytes int64
	// Ratio of uncompressed to compressed bytes, applied above RatioFloor bytes; 200 and 64 MiB.
	Ratio      int64
	RatioFloor int64
}

const (
	maxDepth = 128
	maxPath  = 4096
)

func (l Limits) withDefaults() Limits {
	set := func(field *int64, value int64) {
		if *field <= 0 {
			*field = value
		}
	}
	if l.Entries <= 0 {
		l.Entries = 250_000
	}
	set(&l.Bytes, 16<<30)
	set(&l.NameBytes, 64<<20)
	set(&l.FileBytes, 4<<30)
	set(&l.Ratio, 200)
	set(&l.RatioFloor, 64<<20)
	return l
}

// Errors that callers tell apart.
var (
	// ErrLimit says that an archive is larger than allowed.
	ErrLimit = errors.New("archive exceeds a limit")
	// ErrUnsafe says that an archive holds something that is refused whatever its size.
	ErrUnsafe = errors.New("archive is not safe to unpack")
	// ErrFormat says that something is no archive at all.
	ErrFormat = errors.New("not an archive")
)

// noArchive is an ErrFormat with a text of its own.
type noArchive struct{ error }

func (e noArchive) Is(target error) bool { return target == ErrFormat }
func (e noArchive) Unwrap() error        { return e.error }

// File is a regular file that was unpacked.
type File struct {
	// Path below the directory, with slashes.
	Path string
	// Executable says that the archive gave the file an x bit.
	Executable bool
	Size       int64
	SHA256     [sha256.Size]byte
}

// Result tells what was unpacked.
type Result struct {
	// Files in the order of the archive; of several with one path only the last.
	Files []File
	// Dirs that the archive names or implies, the directory itself left out.
	Dirs []string
	// Bytes of all files.
	Bytes int64
	// Skipped are links that stay inside the directory, and of a layer all that is neither file nor
	// directory; at most a hundred are listed.
	Skipped []string
}

// TarGz unpacks the archive r into dir, which must exist and be empty. Files get the mode 0600 or
// 0700, directories 0700. After an error, what is in dir is worthless.
func TarGz(ctx context.Context, r io.Reader, dir string, limits Limits) (result Result, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	compressed := &counter{ctx: ctx, r: r}
	gz, err := gzip.NewReader(compressed)
	if err != nil {
		return Result{}, fmt.Errorf("archive is not gzip-compressed: %w", err)
	}
	defer gz.Close() //nolint:errcheck // releases memory only
	return newUnpacker(gz, compressed, root, limits).run()
}

func newUnpacker(r io.Reader, compressed *counter, root *os.Root, limits Limits) *unpacker {
	limits = limits.withDefaults()
	return &unpacker{
		limits: limits, root: root,
		tar:   tar.NewReader(&bounded{r: r, compressed: compressed, limits: limits}),
		files: map[string]int{}, dirs: map[string]bool{},
	}
}

func (u *unpacker) run() (Result, error) {
	for {
		done, err := u.next()
		if err != nil {
			return Result{}, err
		}
		if done {
			return u.result, nil
		}
	}
}

type unpacker struct {
	limits  Limits
	lenient bool
	root    *os.Root
	tar     *tar.Reader
	entries int
	names   int64
	// files holds the index in result of each path.
	files  map[string]int
	dirs   map[string]bool
	buf    [64 << 10]byte
	hash   hash.Hash
	result Result
}

// next unpacks one entry.
func (u *unpacker) next() (done bool, err error) {
	h, err := u.tar.Next()
	if errors.Is(err, io.EOF) {
		return true, nil
	}
	if err != nil {
		first := u.entries == 0 && (errors.Is(err, tar.ErrHeader) || errors.Is(err, io.ErrUnexpectedEOF))
		if err = fmt.Errorf("cannot read archive after %d entries: %w", u.entries, err); first {
			err = noArchive{err}
		}
		return false, err
	}
	if u.entries++; u.entries > u.limits.Entries {
		return false, fmt.Errorf("%w: more than %d entries, at '%s'", ErrLimit, u.limits.Entries, clip(h.Name))
	}
	if u.names += int64(len(h.Name)); u.names > u.limits.NameBytes {
		return false, fmt.Errorf("%w: names of more than %d bytes, at '%s'", ErrLimit, u.limits.NameBytes, clip(h.Name))
	}
	if err := u.entry(h); err != nil {
		return false, fmt.Errorf("archive entry '%s': %w", clip(h.Name), err)
	}
	return false, nil
}

func (u *unpacker) entry(h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := safeName(h.Name)
	if err != nil {
		return err
	}
	switch {
	case h.Typeflag == tar.TypeDir:
		return u.mkdir(name)
	case h.Typeflag == tar.TypeReg:
		return u.file(name, h)
	case u.lenient:
		u.skipped(name)
		return nil
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		return u.skip(name, path.Join(path.Dir(name), h.Linkname), h.Linkname)
	case tar.TypeLink:
		return u.skip(name, path.Clean(h.Linkname), h.Linkname)
	}
	return fmt.Errorf("%w: entries of type %q (device, pipe or unknown) are refused", ErrUnsafe, h.Typeflag)
}

// safeName returns the clean form of a name, which is below the root.
func safeName(name string) (string, error) {
	switch {
	case name == "":
		return "", fmt.Errorf("%w: empty name", ErrUnsafe)
	case strings.ContainsRune(name, 0):
		return "", fmt.Errorf("%w: NUL in the name", ErrUnsafe)
	case path.IsAbs(name):
		return "", fmt.Errorf("%w: absolute path", ErrUnsafe)
	case len(name) > maxPath || strings.Count(name, "/") > maxDepth:
		return "", fmt.Errorf("%w: path is longer than %d bytes or deeper than %d directories", ErrLimit, maxPath, maxDepth)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("%w: '..' in the path", ErrUnsafe)
		}
	}
	return path.Clean(name), nil
}

// skip leaves out a link if its target is inside the directory, and refuses it otherwise.
func (u *unpacker) skip(name, target, text string) error {
	if path.IsAbs(text) || target == ".." || strings.HasPrefix(target, "../") || strings.ContainsRune(text, 0) {
		return fmt.Errorf("%w: link to '%s' leaves the archive", ErrUnsafe, clip(text))
	}
	u.skipped(name)
	return nil
}

func (u *unpacker) skipped(name string) {
	const limit = 100
	if len(u.result.Skipped) < limit {
		u.result.Skipped = append(u.result.Skipped, name)
	}
}

// mkdir creates a directory and those above it.
func (u *unpacker) mkdir(name string) error {
	if name == "." || u.dirs[name] {
		return nil
	}
	if err := u.mkdir(path.Dir(name)); err != nil {
		return err
	}
	// directories that entries imply count too, or a few entries could make millions
	if len(u.dirs) >= u.limits.Entries {
		return fmt.Errorf("%w: more than %d directories", ErrLimit, u.limits.Entries)
	}
	if err := u.root.Mkdir(name, 0o700); err != nil {
		return err
	}
	u.dirs[name] = true
	u.result.Dirs = append(u.result.Dirs, name)
	return nil
}

func (u *unpacker) file(name string, h *tar.Header) error {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return fmt.Errorf("%w: sparse files are refused", ErrUnsafe)
		}
	}
	if h.Size > u.limits.FileBytes {
		return fmt.Errorf("%w: %d bytes, %d are allowed for a file", ErrLimit, h.Size, u.limits.FileBytes)
	}
	if u.result.Bytes += h.Size; u.result.Bytes > u.limits.Bytes {
		return fmt.Errorf("%w: more than %d bytes in all files", ErrLimit, u.limits.Bytes)
	}
	if err := u.mkdir(path.Dir(name)); err != nil {
		return err
	}
	f := File{Path: name, Size: h.Size, Executable: h.Mode&0o111 != 0}
	var err error
	if f.SHA256, err = u.write(f); err != nil {
		return err
	}
	if i, again := u.files[name]; again {
		u.result.Bytes -= u.result.Files[i].Size
		u.result.Files[i] = f
		return nil
	}
	u.files[name] = len(u.result.Files)
	u.result.Files = append(u.result.Files, f)
	return nil
}

// write creates a file from the current entry and returns the hash of its content.
func (u *unpacker) write(f File) (sum [sha256.Size]byte, err error) {
	mode := fs.FileMode(0o600)
	if f.Executable {
		mode = 0o700
	}
	if _, again := u.files[f.Path]; again {
		if err := u.root.Remove(f.Path); err != nil {
			return sum, err
		}
	}
	out, err := u.root.OpenFile(f.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if u.hash == nil {
		u.hash = sha256.New()
	}
	u.hash.Reset()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(u.hash, out)}, struct{ io.Reader }{u.tar}, u.buf[:])
	if err != nil {
		return sum, err
	}
	if n != f.Size {
		return sum, fmt.Errorf("%w: %d bytes instead of %d", ErrUnsafe, n, f.Size)
	}
	u.hash.Sum(sum[:0])
	return sum, nil
}

// counter counts what is read, until the context ends.
type counter struct {
	ctx context.Context
	r   io.Reader
	n   int64
}

func (c *counter) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// bounded holds the uncompressed stream against the limits.
type bounded struct {
	r          io.Reader
	compressed *counter
	limits     Limits
	n          int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.compressed.ctx.Err() != nil {
		return 0, context.Cause(b.compressed.ctx)
	}
	n, err := b.r.Read(p)
	b.n += int64(n)
	// headers are part of the stream: leave them as much room as the files have
	if b.n > 2*b.limits.Bytes {
		return 0, fmt.Errorf("%w: more than %d bytes uncompressed", ErrLimit, 2*b.limits.Bytes)
	}
	if b.n > b.limits.RatioFloor && b.n > b.limits.Ratio*b.compressed.n {
		return 0, fmt.Errorf("%w: %d bytes out of %d compressed ones is a ratio above %d", ErrLimit, b.n, b.compressed.n, b.limits.Ratio)
	}
	return n, err
}

// clip keeps hostile names in an error short.
func clip(name string) string {
	const limit = 256
	if len(name) > limit {
		return name[:limit] + "..."
	}
	return name
}
