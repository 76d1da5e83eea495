package gitrepo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitops-toolkit/flux/internal/gitrepo/pack"
	"github.com/gitops-toolkit/flux/internal/gitrepo/transport"
	"github.com/gitops-toolkit/flux/internal/gitrepo/wire"
)

// errWhole says that a server sends whole trees only.
var errWhole = errors.New("the server leaves no files out")

// FetchFiles is Fetch for who reads only some files: those below a directory (or that file) whose names are wanted. The
// mirror of such remotes has the trees of each commit whole, and files as they were wanted; it is told to the server as a
// partial clone, and shared by all who want files of it. Where the server cannot leave files out, or the whole
// repository is here already, this is Fetch.
func (s *Store) FetchFiles(ctx context.Context, r Remote, rev Revision, dir string, wanted func(name string) bool) (*Snapshot, error) {
	m, err := s.partial(r)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return s.Fetch(ctx, r, rev)
	}
	snap, err := m.fetchFiles(ctx, rev, dir, wanted)
	if errors.Is(err, errWhole) || errors.Is(err, wire.ErrRemote) || errors.Is(err, wire.ErrProtocol) || errors.Is(err, pack.ErrMissing) {
		return s.Fetch(ctx, r, rev) // From now on the whole repository is here.
	}
	return snap, err
}

// partial returns the mirror for files of a remote, nil if the whole repository is to be taken.
func (s *Store) partial(r Remote) (*mirror, error) {
	parent, err := s.mirror(r)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(parent.dir); err == nil {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := filepath.Base(parent.dir) + "-files"
	m := s.mirrors[key]
	if m == nil {
		m = &mirror{store: s, dir: filepath.Join(s.dir, key), turn: make(chan struct{}, 1), parent: parent, remote: r}
		s.mirrors[key] = m
	}
	m.used = time.Now()
	return m, nil
}

// fetchFiles brings the trees of a revision, and the files that are wanted and not here.
func (m *mirror) fetchFiles(ctx context.Context, rev Revision, dir string, wanted func(string) bool) (*Snapshot, error) {
	if err := m.lock(ctx); err != nil {
		return nil, m.wrap(ctx, err)
	}
	defer m.unlock()
	snap, err := m.fetchWith(ctx, rev)
	if err != nil {
		return nil, err
	}
	if err := m.bringFiles(ctx, snap, dir, wanted); err != nil {
		snap.Close()
		return nil, m.wrap(ctx, err)
	}
	return snap, nil
}

// maxWanted is how many files one request asks for.
const maxWanted = 10_000

func (m *mirror) bringFiles(ctx context.Context, snap *Snapshot, dir string, wanted func(string) bool) error {
	w := missing{db: snap.g.db, wanted: wanted, seen: map[Hash]bool{}}
	if err := w.find(snap.Root(), dir); err != nil {
		return err
	}
	for len(w.files) > 0 {
		n := min(len(w.files), maxWanted)
		err := m.talk(ctx, func(c transport.Conn, s *wire.Server) error {
			resp, err := s.Fetch(ctx, c, wire.FetchRequest{Want: w.files[:n]})
			if err != nil {
				return err
			}
			defer resp.Pack.Close()
			_, err = snap.g.db.Receive(ctx, resp.Pack)
			return err
		})
		if err != nil {
			return err
		}
		for _, h := range w.files[:n] {
			if !snap.g.db.Has(h) {
				return pack.ErrMissing
			}
		}
		w.files = w.files[n:]
	}
	if snap.g.db.Packs() > maxPacks {
		return snap.g.db.Compact(smallPack)
	}
	return nil
}

// missing finds files that are wanted and not here.
type missing struct {
	db     *pack.DB
	wanted func(name string) bool
	seen   map[Hash]bool
	files  []Hash
}

// find looks at what is at a path below a tree.
func (w *missing) find(tree Hash, path string) error {
	if path == "" {
		return w.tree(tree, 0)
	}
	name, rest, _ := strings.Cut(path, "/")
	entries, err := w.entries(tree)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch {
		case e.Name != name:
		case e.Mode == ModeDir:
			return w.find(e.Hash, rest)
		case rest == "":
			w.file(e)
		}
	}
	return nil
}

func (w *missing) entries(tree Hash) ([]Entry, error) {
	t, data, err := w.db.Get(tree)
	if err == nil && t != plumbing.TreeObject {
		err = pack.ErrCorrupt
	}
	if err != nil {
		return nil, err
	}
	return parseTree(data)
}

func (w *missing) tree(tree Hash, depth int) error {
	if depth > maxDepth || w.seen[tree] {
		return nil
	}
	w.seen[tree] = true
	entries, err := w.entries(tree)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Mode == ModeDir {
			if err := w.tree(e.Hash, depth+1); err != nil {
				return err
			}
		} else if w.wanted(e.Name) {
			w.file(e)
		}
	}
	return nil
}

func (w *missing) file(e Entry) {
	if (e.Mode == ModeFile || e.Mode == ModeExecutable) && !w.seen[e.Hash] && !w.db.Has(e.Hash) {
		w.seen[e.Hash] = true
		w.files = append(w.files, e.Hash)
	}
}
