package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitops-toolkit/flux/internal/gitrepo/pack"
	"github.com/gitops-toolkit/flux/internal/gitrepo/transport"
	"github.com/gitops-toolkit/flux/internal/gitrepo/wire"
)

// Fetch brings a revision to the mirror, if it is not there, and returns it for reading. Whoever asks for
// the same remote meanwhile waits, and mostly finds that there is nothing left to do; a revision that is
// there waits for nobody.
func (s *Store) Fetch(ctx context.Context, r Remote, rev Revision) (*Snapshot, error) {
	m, err := s.mirror(r)
	if err != nil {
		return nil, err
	}
	if snap := m.stored(rev); snap != nil {
		return snap, nil
	}
	if err := m.lock(ctx); err != nil {
		return nil, m.wrap(ctx, err)
	}
	defer m.unlock()
	return m.fetchWith(ctx, rev)
}

// fetchWith fetches for the one who has the turn.
func (m *mirror) fetchWith(ctx context.Context, rev Revision) (*Snapshot, error) {
	snap, err := m.fetch(ctx, rev)
	if damaged(err) && ctx.Err() == nil {
		// Ours or theirs: a mirror built anew will tell.
		m.retire()
		snap, err = m.fetch(ctx, rev)
	}
	var unknown commitError
	if err != nil && !errors.As(err, &unknown) {
		return nil, m.wrap(ctx, err)
	}
	return snap, err
}

// commitError is a commit that cannot be named, or that no ref reaches.
type commitError struct{ commit, reason string }

func (e commitError) Error() string {
	return fmt.Sprintf("unable to resolve commit object for '%s': %s", e.commit, e.reason)
}
func (commitError) Unwrap() error { return ErrReference }

// damaged tells whether an error may be about our files; one that is gone has been removed by somebody else.
func damaged(err error) bool {
	return errors.Is(err, pack.ErrCorrupt) || errors.Is(err, pack.ErrMissing) || errors.Is(err, ErrDamaged) || errors.Is(err, fs.ErrNotExist)
}

func (m *mirror) fetch(ctx context.Context, rev Revision) (*Snapshot, error) {
	g, err := m.open()
	if err != nil {
		return nil, err
	}
	defer func() { g.release() }()
	if g.holds(rev) {
		if err := m.vouch(ctx, rev); err != nil {
			return nil, err
		}
	} else {
		outgrown, err := g.outgrown()
		if err != nil {
			return nil, err
		}
		if outgrown {
			if g, err = m.renew(g); err != nil {
				return nil, err
			}
		}
		if err := m.bring(ctx, g, rev); err != nil {
			if !m.isCurrent(g) {
				g.retire()
			}
			return nil, err
		}
		m.setCurrent(g)
	}
	return newSnapshot(g, rev, m.store.opts.MaxEntries)
}

func (g *generation) holds(rev Revision) bool {
	return g.db.Has(rev.Commit) && (rev.Tag == plumbing.ZeroHash || g.db.Has(rev.Tag))
}

// renew begins the next generation beside the present one, which stays current until a fetch succeeded.
func (m *mirror) renew(old *generation) (*generation, error) {
	m.last++
	g, err := newGeneration(filepath.Join(m.dir, strconv.Itoa(m.last)), m.store.opts.Limits)
	if err != nil {
		return nil, err
	}
	old.release()
	return g, nil
}

// bring fetches what is wanted. A commit that was named by its hash must be reached by a ref.
func (m *mirror) bring(ctx context.Context, g *generation, rev Revision) error {
	if rev.ref == "pinned" {
		return m.bringPinned(ctx, g, rev)
	}
	if rev.ref != "commit" {
		want := []Hash{rev.Commit}
		if rev.Tag != plumbing.ZeroHash {
			want = []Hash{rev.Tag}
		}
		return m.receive(ctx, g, rev.ref, want, []Hash{rev.Commit}, 1)
	}
	refs, err := m.refsAround(ctx, rev)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(refs, func(r wire.Ref) bool { return r.Commit() == rev.Commit }) {
		err = m.receive(ctx, g, "commit", []Hash{rev.Commit}, []Hash{rev.Commit}, 1)
	} else {
		err = m.bringPast(ctx, g, rev, refs)
	}
	if err == nil {
		m.reached.Store(rev.place(), true)
	}
	return err
}

// place is what a commit that was named by its hash has to be reached from.
func (r Revision) place() string { return r.Commit.String() + " " + strings.Join(r.within, " ") }

// refsAround are the refs one of which must reach a commit.
func (m *mirror) refsAround(ctx context.Context, rev Revision) ([]wire.Ref, error) {
	if len(rev.within) == 0 {
		return m.list(ctx, "refs/heads/", "refs/tags/")
	}
	refs, err := m.list(ctx, rev.within...)
	if err != nil {
		return nil, err
	}
	refs = slices.DeleteFunc(refs, func(r wire.Ref) bool { return r.Name != rev.within[0] })
	if len(refs) == 0 {
		return nil, refError{rev.within[0]}
	}
	return refs, nil
}

// vouch makes sure that a ref reaches a commit that was named by its hash and is here already, for whatever it came: the
// answer must not depend on what else is followed.
func (m *mirror) vouch(ctx context.Context, rev Revision) error {
	if rev.ref != "commit" {
		return nil
	}
	if _, known := m.reached.Load(rev.place()); known {
		return nil
	}
	refs, err := m.refsAround(ctx, rev)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(refs, func(r wire.Ref) bool { return r.Commit() == rev.Commit }) {
		found, err := m.inHistory(ctx, rev.Commit, tipsOf(refs))
		if err != nil {
			return err
		}
		if !found {
			return unreachable(rev)
		}
	}
	m.reached.Store(rev.place(), true)
	return nil
}

func unreachable(rev Revision) error {
	return commitError{rev.Commit.String(), "object not found"}
}

func tipsOf(refs []wire.Ref) (tips []Hash) {
	for _, r := range refs {
		if h := r.Commit(); h != plumbing.ZeroHash && !slices.Contains(tips, h) {
			tips = append(tips, h)
		}
	}
	return tips
}

// inHistory tells whether a commit is one of those that lead to tips. If the server can, no files come along.
func (m *mirror) inHistory(ctx context.Context, commit Hash, tips []Hash) (found bool, err error) {
	if len(tips) == 0 {
		return false, ErrEmpty
	}
	err = m.scratch(ctx, wire.FetchRequest{Want: tips, Filter: "tree:0"}, func(db objects) error {
		found = db.Has(commit)
		return nil
	})
	return found, err
}

// bringPast fetches a commit that is no tip: first the commits of the history, without files, to see
// that it is one of them; then the commit. If the server cannot do that, all of the history comes.
func (m *mirror) bringPast(ctx context.Context, g *generation, rev Revision, refs []wire.Ref) error {
	tips := tipsOf(refs)
	if len(tips) == 0 {
		return ErrEmpty
	}
	able := false
	err := m.talk(ctx, func(_ transport.Conn, s *wire.Server) error {
		able = s.Filter() && s.AnyWant() && s.Shallow()
		return nil
	})
	if err != nil {
		return err
	}
	if !able {
		if err := m.receive(ctx, g, "history", tips, tips, 0); err != nil {
			return err
		}
		if !g.db.Has(rev.Commit) {
			return unreachable(rev)
		}
		return nil
	}
	found, err := m.inHistory(ctx, rev.Commit, tips)
	if err != nil {
		return err
	}
	if !found {
		return unreachable(rev)
	}
	return m.receive(ctx, g, "commit", []Hash{rev.Commit}, []Hash{rev.Commit}, 1)
}

// receive runs one fetch into the generation and records the commits that it brought.
func (m *mirror) receive(ctx context.Context, g *generation, ref string, want, commits []Hash, depth int) error {
	before := g.db.Size()
	var shallow, unshallow []Hash
	err := m.talk(ctx, func(c transport.Conn, s *wire.Server) error {
		req := wire.FetchRequest{Want: want, Depth: depth, Have: g.tips(), Shallow: g.shallow()}
		if !s.Shallow() {
			req.Depth = 0
		}
		if req.Depth == 0 {
			// All of the history is to come: say nothing of commits that we have without theirs.
			req.Have, req.Shallow = g.deep(), nil
		}
		if m.parent != nil {
			if !s.Partial() {
				return errWhole
			}
			req.Filter = "blob:none"
		}
		resp, err := s.Fetch(ctx, c, req)
		if err != nil {
			return err
		}
		defer resp.Pack.Close()
		if _, err := g.db.Receive(ctx, resp.Pack); err != nil {
			return err
		}
		// The server tells what changes: what we said to be shallow stays so.
		shallow, unshallow = append(req.Shallow, resp.Shallow...), resp.Unshallow
		return nil
	})
	if err != nil {
		return err
	}
	var added []tip
	for _, h := range commits {
		if _, err := readCommit(g.db, h); err != nil {
			return fmt.Errorf("what the remote sent: %w", err)
		}
		added = append(added, tip{Hash: h.String(), Ref: ref, Shallow: slices.Contains(shallow, h) && !slices.Contains(unshallow, h)})
	}
	if err := g.note(ref, added, before); err != nil {
		return err
	}
	if g.db.Packs() > maxPacks {
		return g.db.Compact(smallPack)
	}
	return nil
}

// deep are the tips whose history is here.
func (g *generation) deep() (hashes []Hash) {
	for _, t := range g.state.Tips {
		if !t.Shallow {
			hashes = append(hashes, plumbing.NewHash(t.Hash))
		}
	}
	return hashes
}
