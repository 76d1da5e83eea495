package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// Inputs remembers every question that a build asked its artifact, and a digest of each answer.
type Inputs struct {
	mount   string
	limits  Limits
	answers []answer
	remote  bool
}

// answer is what one access of the file system returned.
type answer struct {
	op   op
	path string
	sum  [sha256.Size]byte
}

// op is a kind of access.
type op byte

const (
	opRead    op = 'r'
	opResolve op = 's'
	opList    op = 'l'
)

// Digest identifies the whole of the inputs. Two builds of the same specification with the same digest have the
// same result. It is empty when the build read something that cannot be compared, such as a remote base.
func (in *Inputs) Digest() string {
	if in == nil || in.remote {
		return ""
	}
	hash := sha256.New()
	for _, a := range in.answers {
		hash.Write([]byte{byte(a.op)})
		hash.Write([]byte(a.path))
		hash.Write([]byte{0})
		hash.Write(a.sum[:])
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil))
}

// Unchanged reports whether the artifact unpacked at root would answer everything in the same way, so that a build
// of it must have the same result. It reads what the build read. When in doubt it says no.
func (in *Inputs) Unchanged(root string) bool {
	if in == nil || in.remote {
		return false
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		return false
	}
	defer dir.Close()
	fsys := newFileSystem(context.Background(), in.limits, in.mount, dir)
	for _, a := range in.answers {
		if fsys.ask(a.op, a.path) != a.sum {
			return false
		}
	}
	return true
}

// Paths lists the files whose content was read, sorted, below the mount point.
func (in *Inputs) Paths() []string {
	var paths []string
	for _, a := range in.answers {
		if a.op == opRead {
			paths = append(paths, a.path)
		}
	}
	return paths
}

// ask repeats one access and returns the digest of the answer.
func (f *fileSystem) ask(op op, name string) [sha256.Size]byte {
	switch op {
	case opRead:
		content, err := f.readMounted(name)
		return sumRead(content, err)
	case opList:
		entries, err := f.listMounted(name)
		return sumList(entries, err)
	default:
		clean, info, err := f.resolve(name)
		return sumResolve(clean, info, err)
	}
}

// recorder collects answers; a question that is asked again is kept once.
type recorder struct {
	seen map[string]answer
}

func (r *recorder) read(name string, content []byte, err error) [sha256.Size]byte {
	sum := sumRead(content, err)
	r.put(opRead, name, sum)
	return sum
}

func (r *recorder) resolved(name, clean string, info fs.FileInfo, err error) {
	r.put(opResolve, name, sumResolve(clean, info, err))
}

func (r *recorder) listed(name string, entries []fs.DirEntry, err error) {
	r.put(opList, name, sumList(entries, err))
}

func (r *recorder) put(op op, name string, sum [sha256.Size]byte) {
	if strings.HasPrefix(name, groupMount+"/") {
		return // how a build was divided says nothing about the artifact
	}
	if r.seen == nil {
		r.seen = map[string]answer{}
	}
	r.seen[string(op)+name] = answer{op: op, path: name, sum: sum}
}

// inputs returns what was recorded below one mount, sorted.
func (r *recorder) inputs(mount string, limits Limits, remote bool) *Inputs {
	in := &Inputs{mount: mount, limits: limits, remote: remote, answers: make([]answer, 0, len(r.seen))}
	for _, a := range r.seen {
		in.answers = append(in.answers, a)
	}
	slices.SortFunc(in.answers, func(a, b answer) int {
		if c := strings.Compare(a.path, b.path); c != 0 {
			return c
		}
		return int(a.op) - int(b.op)
	})
	return in
}

func sumRead(content []byte, err error) [sha256.Size]byte {
	if err != nil {
		return sumError(err)
	}
	hash := sha256.New()
	hash.Write([]byte{'f'})
	hash.Write(content)
	return [sha256.Size]byte(hash.Sum(nil))
}

func sumResolve(clean string, info fs.FileInfo, err error) [sha256.Size]byte {
	if err != nil {
		return sumError(err)
	}
	return sha256.Sum256([]byte("p" + info.Mode().Type().String() + clean))
}

func sumList(entries []fs.DirEntry, err error) [sha256.Size]byte {
	if err != nil {
		return sumError(err)
	}
	var all strings.Builder
	all.WriteByte('l')
	for _, e := range entries {
		all.WriteString(e.Type().String())
		all.WriteString(e.Name())
		all.WriteByte(0)
	}
	return sha256.Sum256([]byte(all.String()))
}

// sumError treats all misses alike, and any other error as different from everything, itself included only by text.
func sumError(err error) [sha256.Size]byte {
	if errors.Is(err, fs.ErrNotExist) {
		return sha256.Sum256([]byte("missing"))
	}
	return sha256.Sum256([]byte("error" + err.Error()))
}
