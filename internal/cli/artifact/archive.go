package artifact

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
	"github.com/spf13/pflag"
)

// defaultIgnore is what stays out of an archive: files of version control, and those that no deployment needs.
var defaultIgnore = []string{
	".git/", ".gitignore", ".gitmodules", ".gitattributes",
	"*.jpg", "*.jpeg", "*.gif", "*.png", "*.wmv", "*.flv", "*.tar.gz", "*.zip",
}

// fileFlags choose the files of an archive.
type fileFlags struct {
	path               string
	ignore, addIgnored []string
	resolveLinks       bool
}

func (f *fileFlags) define(flags *pflag.FlagSet, shorthand string, links bool) {
	flags.StringVarP(&f.path, "path", shorthand, "", "directory or file with the manifests; - reads YAML from standard input")
	flags.StringSliceVar(&f.ignore, "ignore-paths", defaultIgnore, "paths to leave out, in gitignore syntax")
	flags.StringSliceVar(&f.addIgnored, "add-ignore-paths", nil, "more paths to leave out, beside those of --ignore-paths")
	if links {
		flags.BoolVar(&f.resolveLinks, "resolve-symlinks", false, "archive what symbolic links lead to, instead of leaving them out")
	}
}

// check tells what is wrong with --path; it must be called before the path is used.
func (f *fileFlags) check() error {
	if f.path == "-" {
		return nil
	}
	if _, err := os.Stat(f.path); f.path == "" || err != nil {
		return fmt.Errorf("invalid path '%s', must point to an existing directory or file", f.path)
	}
	return nil
}

// maxStdin bounds what is read from standard input.
const maxStdin = 256 << 20

// source is what an archive is made of.
type source struct {
	// label is how the source is called in messages.
	label string
	// text is the content of the only file, for standard input.
	text []byte
}

// read settles where the files come from. Standard input becomes a file whose name follows from the content.
func (f *fileFlags) read(in io.Reader) (source, error) {
	if f.path != "-" {
		return source{label: f.path}, nil
	}
	text, err := io.ReadAll(io.LimitReader(in, maxStdin+1))
	switch {
	case err != nil:
		return source{}, fmt.Errorf("read standard input: %w", err)
	case len(text) > maxStdin:
		return source{}, fmt.Errorf("standard input has more than %d bytes", maxStdin)
	}
	text = []byte(strings.TrimRight(string(text), "\r\n"))
	if len(text) == 0 {
		return source{}, errors.New("standard input is empty")
	}
	name := fmt.Sprintf("%d.yaml", crc32.ChecksumIEEE(text))
	return source{label: filepath.Join(os.TempDir(), name), text: text}, nil
}

// write makes the archive of a source at a path.
func (f *fileFlags) write(src source, to string) (err error) {
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	own, err := out.Stat()
	if err != nil {
		return err
	}
	// The compressor and its level are part of the format: equal files give an equal digest, here and with the
	// toolkit that we replace.
	zw := gzip.NewWriter(out)
	a := &archiver{tar: tar.NewWriter(zw), own: own, follow: f.resolveLinks, matcher: matcherOf(append(f.ignore, f.addIgnored...))}
	if err := a.source(src, f.path); err != nil {
		return err
	}
	return errors.Join(a.tar.Close(), zw.Close())
}

// withArchive makes an archive aside and calls use with its path.
func (f *fileFlags) withArchive(src source, use func(path string) error) (err error) {
	dir, err := os.MkdirTemp("", "flux-artifact-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "artifact.tgz")
	if err := f.write(src, file); err != nil {
		return err
	}
	return use(file)
}

func matcherOf(lines []string) gitignore.Matcher {
	var patterns []gitignore.Pattern
	for _, line := range lines {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			patterns = append(patterns, gitignore.ParsePattern(line, nil))
		}
	}
	return gitignore.NewMatcher(patterns)
}

// archiver writes directories and regular files, sorted, without owners and times.
type archiver struct {
	tar     *tar.Writer
	own     fs.FileInfo // the archive itself, which may lie among the files
	matcher gitignore.Matcher
	follow  bool
	above   []fs.FileInfo // the directories on the way, to find loops of links
}

// aloneMode is the mode of the directory that a single file is put into.
const aloneMode = 0o700

func (a *archiver) source(src source, from string) error {
	if src.text != nil {
		if err := a.header(".", tar.TypeDir, aloneMode, 0); err != nil {
			return err
		}
		if err := a.header(filepath.Base(src.label), tar.TypeReg, 0o600, int64(len(src.text))); err != nil {
			return err
		}
		_, err := a.tar.Write(src.text)
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return a.dir(from, ".", info)
	}
	if err := a.header(".", tar.TypeDir, aloneMode, 0); err != nil {
		return err
	}
	return a.file(from, filepath.Base(from))
}

func (a *archiver) header(name string, kind byte, mode fs.FileMode, size int64) error {
	return a.tar.WriteHeader(&tar.Header{Name: name, Typeflag: kind, Mode: int64(mode.Perm()), Size: size})
}

func (a *archiver) dir(from, name string, info fs.FileInfo) error {
	for _, above := range a.above {
		if os.SameFile(above, info) {
			return fmt.Errorf("'%s' is a link to a directory that it is in", from)
		}
	}
	a.above = append(a.above, info)
	defer func() { a.above = a.above[:len(a.above)-1] }()
	if err := a.header(name, tar.TypeDir, info.Mode(), 0); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := a.entry(filepath.Join(from, e.Name()), path.Join(name, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (a *archiver) entry(from, name string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if a.follow && info.Mode()&fs.ModeSymlink != 0 {
		if info, err = os.Stat(from); err != nil {
			return fmt.Errorf("symbolic link '%s': %w", from, err)
		}
	}
	switch {
	case a.matcher.Match(strings.Split(name, "/"), info.IsDir()), os.SameFile(info, a.own):
		return nil
	case info.IsDir():
		return a.dir(from, name, info)
	case info.Mode().IsRegular():
		return a.file(from, name)
	}
	return nil // Links and devices stay out.
}

func (a *archiver) file(from, name string) (err error) {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := a.header(name, tar.TypeReg, info.Mode(), info.Size()); err != nil {
		return err
	}
	if n, err := io.Copy(a.tar, io.LimitReader(f, info.Size())); err != nil || n != info.Size() {
		return errors.Join(err, fmt.Errorf("file '%s' changed while it was read", from))
	}
	return nil
}
