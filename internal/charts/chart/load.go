package chart

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
	"helm.sh/helm/v4/pkg/ignore"
)

// byteOrderMark begins text files of some editors; YAML parsers stumble over it.
var byteOrderMark = []byte{0xEF, 0xBB, 0xBF}

var drive = regexp.MustCompile(`^[a-zA-Z]:/`)

// LoadArchive reads a packed chart, all of whose files are below one directory.
func LoadArchive(in io.Reader, limits Limits) (*Chart, error) {
	limits = limits.WithDefaults()
	packed := &limitedReader{in: in, left: limits.Packed, err: fmt.Errorf("chart %w: the archive is larger than %d bytes", ErrLimit, limits.Packed)}
	unzipped, err := gzip.NewReader(packed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotChart, err)
	}
	// Headers count too: an archive of empty files would have no end otherwise.
	all := &limitedReader{in: unzipped, left: limits.Unpacked + int64(limits.Files)*1024, err: tooLarge(limits)}
	tr := tar.NewReader(all)
	budget := budget{limits: limits}
	var files []file
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, archiveError(err)
		}
		if h.FileInfo().IsDir() || h.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		name, err := inside(h.Name)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotChart, err)
		}
		if h.Typeflag != tar.TypeReg {
			continue // Links lead nowhere: nothing is written to a disk.
		}
		data, err := budget.read(name, tr, h.Size)
		if err != nil {
			return nil, archiveError(err)
		}
		if slices.ContainsFunc(files, func(f file) bool { return f.name == name && strings.HasSuffix(name, ".yaml") }) {
			return nil, fmt.Errorf("%w: '%s' is in the archive twice", ErrNotChart, name)
		}
		files = append(files, file{name, data})
	}
	if _, err := io.Copy(io.Discard, all); err != nil { // what follows must be well-formed too
		return nil, archiveError(err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%w: no files in chart archive", ErrNotChart)
	}
	return newChart(files)
}

func archiveError(err error) error {
	if errors.Is(err, ErrLimit) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNotChart, err)
}

func tooLarge(limits Limits) error {
	return fmt.Errorf("chart %w: its files are larger than %d bytes together", ErrLimit, limits.Unpacked)
}

// inside is the name of an entry below the chart's directory.
func inside(entry string) (string, error) {
	slashed := strings.ReplaceAll(entry, "\\", "/")
	dir, name, _ := strings.Cut(slashed, "/")
	switch {
	case dir == metadataFile:
		return "", errors.New("chart yaml not in base directory")
	case path.IsAbs(slashed), path.IsAbs(name):
		return "", fmt.Errorf("chart illegally contains absolute paths: %q", entry)
	case drive.MatchString(slashed), drive.MatchString(name), strings.ContainsRune(entry, 0):
		return "", fmt.Errorf("chart contains illegally named files: %q", entry)
	}
	for part := range strings.SplitSeq(slashed, "/") {
		if part == ".." {
			return "", fmt.Errorf("chart illegally references parent directory: %q", entry)
		}
	}
	name = path.Clean(name)
	if name == "." {
		return "", fmt.Errorf("chart illegally contains content outside the base directory: %q", entry)
	}
	return name, nil
}

// budget bounds what is read into memory.
type budget struct {
	limits Limits
	files  int
	bytes  int64
}

func (b *budget) read(name string, in io.Reader, size int64) ([]byte, error) {
	if b.files++; b.files > b.limits.Files {
		return nil, fmt.Errorf("chart %w: it has more than %d files", ErrLimit, b.limits.Files)
	}
	if size > b.limits.File {
		return nil, fmt.Errorf("chart %w: file '%s' has %d bytes, %d are allowed", ErrLimit, name, size, b.limits.File)
	}
	if b.bytes += size; b.bytes > b.limits.Unpacked {
		return nil, tooLarge(b.limits)
	}
	data, err := io.ReadAll(io.LimitReader(in, size+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) != size {
		return nil, fmt.Errorf("file '%s' has another size than the %d bytes that it is said to have", name, size)
	}
	return bytes.TrimPrefix(data, byteOrderMark), nil
}

// limitedReader fails with its error when there is more than allowed.
type limitedReader struct {
	in   io.Reader
	left int64
	err  error
}

func (r *limitedReader) Read(p []byte) (int, error) {
	n, err := r.in.Read(p[:min(int64(len(p)), r.left+1)])
	if r.left -= int64(n); r.left < 0 {
		return 0, r.err
	}
	return n, err
}

// LoadDir reads the chart in a directory below root, without the files that its .helmignore names. Links are followed
// within root only.
func LoadDir(root *os.Root, dir string, limits Limits) (*Chart, error) {
	limits = limits.WithDefaults()
	if dir != "." {
		below, err := root.OpenRoot(dir)
		if err != nil {
			return nil, err
		}
		defer below.Close() //nolint:errcheck // read only
		root = below
	}
	rules, err := ignoreRules(root, limits)
	if err != nil {
		return nil, err
	}
	budget := budget{limits: limits}
	var files []file
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		info, err := root.Stat(name)
		if err != nil {
			return fmt.Errorf("file '%s': %w", name, err)
		}
		if rules.Ignore(name, info) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		switch {
		case d.IsDir():
			return nil
		case !info.Mode().IsRegular():
			return fmt.Errorf("%w: cannot load irregular file '%s'", ErrNotChart, name)
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // read only
		data, err := budget.read(name, f, info.Size())
		files = append(files, file{name, data})
		return err
	})
	if err != nil {
		return nil, err
	}
	return newChart(files)
}

func ignoreRules(root *os.Root, limits Limits) (*ignore.Rules, error) {
	rules := ignore.Empty()
	f, err := root.Open(ignore.HelmIgnore)
	if err == nil {
		defer f.Close() //nolint:errcheck // read only
		if rules, err = ignore.Parse(io.LimitReader(f, limits.File)); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrNotChart, ignore.HelmIgnore, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	rules.AddDefaults()
	return rules, nil
}
