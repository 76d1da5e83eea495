package archive

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/gitops-toolkit/flux/internal/artifact/unpack"
)

// FuzzNames archives a tree whose names, patterns and content somebody else chose: it is refused, or
// every consumer can unpack it and finds what was put in.
func FuzzNames(f *testing.F) {
	f.Add("a", "b", "content", "*.md")
	f.Add("..", "x", "", "")
	f.Add("dir/..", "\x00", "x", "!**/x")
	f.Add("größe", "\xff\xfe", "x", "/*\n!a\n")
	f.Add("C:\\", "-rf", "x", "[")
	f.Fuzz(func(t *testing.T, dir, name, content, patterns string) {
		tree := &memTree{files: map[string]memFile{}, dirs: map[string][]Entry{}, root: ""}
		tree.dirs["."] = []Entry{{Name: dir, Kind: Dir}}
		tree.dirs[dir] = []Entry{{Name: name, Kind: File, Size: -1, ID: id(content)}}
		tree.files[join(dir, name)] = memFile{content: content}
		var out bytes.Buffer
		sum, err := NewBuilder(Options{}).Write(t.Context(), &out, tree, Ignore{Spec: patterns, SourceIgnore: true, Defaults: true})
		if err != nil {
			return
		}
		target := t.TempDir()
		result, err := unpack.TarGz(t.Context(), &out, target, unpack.Limits{})
		if err != nil {
			if len(dir) > 255 || len(name) > 255 {
				return // no file system takes that
			}
			t.Fatalf("%q/%q was archived, and then: %v", dir, name, err)
		}
		if len(result.Files) > 1 || sum.Entries != 1+len(result.Dirs)+len(result.Files) {
			t.Errorf("%+v became %+v", sum, result)
		}
		for _, file := range result.Files {
			if data, err := os.ReadFile(filepath.Join(target, dir, name)); err != nil || string(data) != content {
				t.Errorf("%q holds %q, %v", file.Path, data, err)
			}
		}
	})
}
