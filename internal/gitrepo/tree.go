package gitrepo

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/gitops-toolkit/flux/internal/gitrepo/pack"
)

// Mode is what an entry of a tree is.
type Mode uint32

// The modes that Git knows. Older programs wrote others for files; they read as File or Executable.
const (
	ModeDir        Mode = 0o040000
	ModeFile       Mode = 0o100644
	ModeExecutable Mode = 0o100755
	ModeSymlink    Mode = 0o120000
	ModeSubmodule  Mode = 0o160000
)

// Entry is one name in a directory.
type Entry struct {
	Name string
	Mode Mode
	Hash Hash
}

// maxName is what file systems and archives take.
const (
	maxName  = 255
	maxDepth = 255
)

// parseTree reads a tree object: for each entry the mode in octal, a space, the name, a zero byte and
// the 20 bytes of the hash.
func parseTree(data []byte) (entries []Entry, err error) {
	malformed := fmt.Errorf("malformed tree: %w", pack.ErrCorrupt)
	for len(data) > 0 {
		zero := bytes.IndexByte(data, 0)
		if zero < 0 || len(data) < zero+1+20 {
			return nil, malformed
		}
		octal, name, ok := strings.Cut(string(data[:zero]), " ")
		if !ok {
			return nil, malformed
		}
		e := Entry{Name: name, Hash: Hash(data[zero+1 : zero+21])}
		if e.Mode, ok = parseMode(octal); !ok {
			return nil, malformed
		}
		if err := checkName(name); err != nil {
			return nil, err
		}
		entries = append(entries, e)
		data = data[zero+21:]
	}
	return entries, nil
}

func parseMode(octal string) (Mode, bool) {
	if len(octal) < 5 || len(octal) > 7 {
		return 0, false
	}
	n := Mode(0)
	for _, c := range octal {
		if c < '0' || c > '7' {
			return 0, false
		}
		n = n<<3 | Mode(c-'0')
	}
	switch n & 0o170000 {
	case ModeDir, ModeSymlink, ModeSubmodule:
		return n & 0o170000, true
	case 0o100000:
		if n&0o111 != 0 {
			return ModeExecutable, true
		}
		return ModeFile, true
	}
	return 0, false
}

// checkName refuses what would lead out of a directory, or into a repository's own files, on any of the
// file systems that a consumer may have.
func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
	case len(name) > maxName:
	case strings.ContainsAny(name, "/\x00"):
	case isDotGit(name):
	default:
		return nil
	}
	return fmt.Errorf("%w: a file must not be named %.300q", ErrTree, name)
}

// isDotGit also knows the names that other file systems take for .git: any case, trailing dots, spaces
// and streams, the short name, and characters that are invisible.
func isDotGit(name string) bool {
	visible := strings.Map(func(r rune) rune {
		switch {
		case r >= 0x200c && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x206a && r <= 0x206f, r == 0xfeff:
			return -1
		}
		return r
	}, name)
	if strings.EqualFold(visible, ".git") {
		return true
	}
	base, _, _ := strings.Cut(name, ":")
	base = strings.TrimRight(base, ". ")
	return strings.EqualFold(base, ".git") || strings.EqualFold(base, "git~1")
}

// Walk calls f for every entry below the root, a directory before what is in it, in Git's order. If f
// returns false for a directory, it is not entered.
func (s *Snapshot) Walk(f func(path string, e Entry) (enter bool, err error)) error {
	return s.walk("", s.Root(), 0, f)
}

func (s *Snapshot) walk(dir string, h Hash, depth int, f func(string, Entry) (bool, error)) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: directories nested deeper than %d", ErrTree, maxDepth)
	}
	entries, err := s.Tree(h)
	if err != nil {
		return fmt.Errorf("directory %q: %w", "/"+dir, err)
	}
	for _, e := range entries {
		p := path.Join(dir, e.Name)
		enter, err := f(p, e)
		if err != nil {
			return err
		}
		if enter && e.Mode == ModeDir {
			if err := s.walk(p, e.Hash, depth+1, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// Open finds a file by its path, for reading one file of many. The error is ErrReference if there is none.
func (s *Snapshot) Open(name string) (io.ReadCloser, int64, error) {
	h := s.Root()
	parts := strings.Split(path.Clean(name), "/")
	for i, part := range parts {
		entries, err := s.Tree(h)
		if err != nil {
			return nil, 0, err
		}
		last := i == len(parts)-1
		found := false
		for _, e := range entries {
			isFile := e.Mode == ModeFile || e.Mode == ModeExecutable
			if e.Name == part && (last && isFile || !last && e.Mode == ModeDir) {
				h, found = e.Hash, true
			}
		}
		if !found {
			return nil, 0, fmt.Errorf("%w: no file %q", ErrReference, name)
		}
	}
	return s.Blob(h)
}
