package gitrepo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitops-toolkit/flux/internal/gitrepo/pack"
)

// generation is one life of a mirror: a bare repository in a directory of its own, `<mirror>/<number>`.
// A mirror that is built anew gets the next number; readers of the old one finish in peace.
//
// Every commit in it has its whole tree; in a mirror for some files (FetchFiles), all of it but files. That is the invariant on which negotiation rests: packs are
// taken whole or not at all, the list of tips is written after the pack.
type generation struct {
	dir     string
	db      *pack.DB
	damaged atomic.Bool
	state   state // guarded by the mirror's turn

	mu      sync.Mutex
	refs    int
	retired bool
	closed  bool
}

// state is kept beside the objects, as JSON.
type state struct {
	// Tips are commits that we tell the server, the newest first.
	Tips []tip `json:"tips"`
	// Refs are the refs whose first fetch is in Fresh, until it is measured.
	Refs []string `json:"refs"`
	// Fresh is about what a fresh mirror would take, in bytes: first what came at first, and what
	// measure found whenever the mirror seemed to have outgrown that.
	Fresh int64 `json:"fresh"`
}

// tip is a commit that was fetched.
type tip struct {
	Hash string `json:"hash"`
	// Ref is the ref that it was fetched for.
	Ref string `json:"ref,omitempty"`
	// Shallow is true if its parents were left out.
	Shallow bool `json:"shallow,omitempty"`
}

const (
	stateFile = "gitrepo.json"
	maxTips   = 64
	maxRefs   = 64
	// slack is how much more than twice the fresh size a small mirror may take.
	slack = 8 << 20
	// Small packs are joined when there are many.
	maxPacks  = 24
	smallPack = 8 << 20
)

// openGeneration opens the newest generation that is whole, or begins one, whose number is at least
// next: no number is used twice, for readers may yet hold an old one. What a crash left is removed. The
// caller holds a reference to the result.
func openGeneration(dir string, next int, limits pack.Limits) (*generation, error) {
	numbers, err := generations(dir)
	if err != nil {
		return nil, err
	}
	if len(numbers) > 0 {
		next = max(next, numbers[0]+1)
	}
	var found *generation
	for _, n := range numbers {
		path := filepath.Join(dir, strconv.Itoa(n))
		if found == nil {
			if found, err = loadGeneration(path, limits); err == nil {
				continue
			}
		}
		if err := os.RemoveAll(path); err != nil {
			return nil, err
		}
	}
	if found != nil {
		return found, nil
	}
	return newGeneration(filepath.Join(dir, strconv.Itoa(next)), limits)
}

// generations are the numbers in use, the highest first.
func generations(dir string) (numbers []int, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	slices.Reverse(numbers)
	return numbers, err
}

func loadGeneration(dir string, limits pack.Limits) (*generation, error) {
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, err
	}
	g := &generation{dir: dir, refs: 1}
	if err := json.Unmarshal(data, &g.state); err != nil {
		return nil, err
	}
	if g.db, err = pack.Open(dir, limits); err != nil {
		return nil, err
	}
	for _, t := range g.state.Tips {
		if !g.db.Has(plumbing.NewHash(t.Hash)) {
			_ = g.db.Close()
			return nil, fmt.Errorf("commit %s: %w", t.Hash, pack.ErrMissing)
		}
	}
	return g, nil
}

func newGeneration(dir string, limits pack.Limits) (*generation, error) {
	if err := os.MkdirAll(filepath.Join(dir, "refs"), 0o700); err != nil {
		return nil, err
	}
	// What makes the directory a repository to the git program.
	for name, content := range map[string]string{
		"HEAD":   "ref: refs/heads/none\n",
		"config": "[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	db, err := pack.Open(dir, limits)
	if err != nil {
		return nil, err
	}
	return &generation{dir: dir, db: db, refs: 1}, nil
}

func (g *generation) number() int {
	n, _ := strconv.Atoi(filepath.Base(g.dir))
	return n
}

// acquire takes a reference; it fails if the generation is closed.
func (g *generation) acquire() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.refs++
	return true
}

// release gives a reference back. The last one closes the files, and removes them if the generation is
// retired.
func (g *generation) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refs--; g.refs > 0 {
		return
	}
	g.closed = true
	_ = g.db.Close()
	if g.retired {
		_ = os.RemoveAll(g.dir)
	}
}

// retire gives the generation up: it is never opened again, and gone when its last reader is.
func (g *generation) retire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.retired = true
	_ = os.Remove(filepath.Join(g.dir, stateFile))
	if g.closed {
		_ = os.RemoveAll(g.dir)
	}
}

// shallow are the tips without their parents.
func (g *generation) shallow() (hashes []Hash) {
	for _, t := range g.state.Tips {
		if t.Shallow {
			hashes = append(hashes, plumbing.NewHash(t.Hash))
		}
	}
	return hashes
}

func (g *generation) tips() (hashes []Hash) {
	for _, t := range g.state.Tips {
		hashes = append(hashes, plumbing.NewHash(t.Hash))
	}
	return hashes
}

// outgrown tells whether a fresh mirror would be less than half as large.
func (g *generation) outgrown() (bool, error) {
	if len(g.state.Tips) == 0 || g.db.Size() <= 2*g.state.Fresh+slack {
		return false, nil
	}
	fresh, err := g.measure()
	if err != nil {
		return false, err
	}
	g.state.Fresh = fresh
	return g.db.Size() > 2*fresh+slack, nil
}

// note records what a fetch brought, and keeps the files of the git program in step: it finds the tips as
// refs, and the boundary of history in shallow.
func (g *generation) note(ref string, added []tip, before int64) error {
	for _, t := range added {
		g.state.Tips = slices.DeleteFunc(g.state.Tips, func(o tip) bool { return o.Hash == t.Hash })
	}
	g.state.Tips = append(slices.Clone(added), g.state.Tips...)
	g.state.Tips = g.state.Tips[:min(len(g.state.Tips), maxTips)]
	if !slices.Contains(g.state.Refs, ref) && len(g.state.Refs) < maxRefs {
		g.state.Refs = append(g.state.Refs, ref)
		g.state.Fresh += g.db.Size() - before
	}
	var shallow, refs strings.Builder
	for _, t := range g.state.Tips {
		if t.Shallow {
			fmt.Fprintln(&shallow, t.Hash)
		}
	}
	refs.WriteString("# pack-refs with: sorted\n")
	sorted := slices.Clone(g.state.Tips)
	slices.SortFunc(sorted, func(a, b tip) int { return strings.Compare(a.Hash, b.Hash) })
	for _, t := range sorted {
		fmt.Fprintf(&refs, "%s refs/tips/%s\n", t.Hash, t.Hash)
	}
	data, err := json.Marshal(g.state)
	if err != nil {
		return err
	}
	return errors.Join(
		writeFile(filepath.Join(g.dir, "shallow"), shallow.String()),
		writeFile(filepath.Join(g.dir, "packed-refs"), refs.String()),
		writeFile(filepath.Join(g.dir, stateFile), string(data)),
	)
}

// writeFile replaces a file at once or not at all.
func writeFile(path, content string) error {
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
