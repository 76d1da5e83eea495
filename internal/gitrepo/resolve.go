package gitrepo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitops-toolkit/flux/internal/gitrepo/wire"
)

func trimHeads(ref string) string { return strings.TrimPrefix(ref, "refs/heads/") }

// Resolve looks up what a reference means at the remote now. It lists refs, only those concerned if the
// server can, and moves no objects. A reference to a commit needs no look. Only if several tags are of
// the highest version, their commits are fetched, without files, because the latest is meant.
func (s *Store) Resolve(ctx context.Context, r Remote, ref Reference) (Revision, error) {
	m, err := s.mirror(r)
	if err != nil {
		return Revision{}, err
	}
	if ref.Commit != "" {
		return ref.fixed()
	}
	name := ref.refName()
	if name == "" {
		return m.resolveSemVer(ctx, ref.SemVer)
	}
	if !safeRef(name) {
		return Revision{}, m.wrap(ctx, refError{name})
	}
	refs, err := m.list(ctx, name)
	if err != nil {
		return Revision{}, m.wrap(ctx, err)
	}
	if rev, ok := ref.among(refs); ok {
		return rev, nil
	}
	return Revision{}, m.missing(ctx, refError{name})
}

// among is what a reference to one ref means in a listing.
func (r Reference) among(refs []wire.Ref) (Revision, bool) {
	name := r.refName()
	for _, found := range refs {
		if found.Name == name && found.Commit() != plumbing.ZeroHash {
			return revisionOf(r.title(), found), true
		}
	}
	return Revision{}, false
}

// ResolveBeside is Resolve, and looks up a branch too, whose tip is zero if it is not there. That is one listing, but for
// a range of versions.
func (s *Store) ResolveBeside(ctx context.Context, r Remote, ref Reference, branch string) (rev, tip Revision, err error) {
	beside := Reference{Branch: branch}
	if name := ref.refName(); ref.Commit == "" && safeRef(name) && safeRef(beside.refName()) {
		m, err := s.mirror(r)
		if err != nil {
			return rev, tip, err
		}
		refs, err := m.list(ctx, name, beside.refName())
		if err != nil {
			return rev, tip, m.wrap(ctx, err)
		}
		if rev, ok := ref.among(refs); ok {
			tip, _ = beside.among(refs)
			return rev, tip, nil
		}
	}
	if rev, err = s.Resolve(ctx, r, ref); err != nil {
		return rev, tip, err
	}
	if tip, err = s.Resolve(ctx, r, beside); errors.Is(err, ErrReference) {
		return rev, Revision{}, nil
	}
	return rev, tip, err
}

func revisionOf(title string, ref wire.Ref) Revision {
	rev := Revision{Name: title, Commit: ref.Commit(), ref: ref.Name}
	if ref.Peeled != plumbing.ZeroHash {
		rev.Tag = ref.Hash
	}
	return rev
}

// missing tells a repository without commits from one without that ref.
func (m *mirror) missing(ctx context.Context, cause error) error {
	refs, err := m.list(ctx, "HEAD", "refs/")
	if err != nil {
		return m.wrap(ctx, err)
	}
	for _, ref := range refs {
		if ref.Hash != plumbing.ZeroHash {
			var semver noMatch
			if errors.As(cause, &semver) {
				return cause
			}
			return m.wrap(ctx, cause)
		}
	}
	return ErrEmpty
}

func (m *mirror) resolveSemVer(ctx context.Context, semverRange string) (Revision, error) {
	refs, err := m.list(ctx, "refs/tags/")
	if err != nil {
		return Revision{}, m.wrap(ctx, err)
	}
	best, err := highest(refs, semverRange)
	var none noMatch
	if errors.As(err, &none) {
		return Revision{}, m.missing(ctx, err)
	}
	if err != nil {
		return Revision{}, err
	}
	latest, err := m.latest(ctx, best)
	if err != nil {
		return Revision{}, m.wrap(ctx, err)
	}
	return revisionOf(strings.TrimPrefix(latest.Name, "refs/tags/"), latest), nil
}

// latest is the ref whose commit is the youngest.
func (m *mirror) latest(ctx context.Context, refs []wire.Ref) (wire.Ref, error) {
	if len(refs) == 1 {
		return refs[0], nil
	}
	var unknown []Hash
	for _, ref := range refs {
		if _, ok := m.times.Load(ref.Commit()); !ok {
			unknown = append(unknown, ref.Commit())
		}
	}
	if len(unknown) > 0 {
		if err := m.fetchTimes(ctx, unknown); err != nil {
			return wire.Ref{}, err
		}
	}
	best, bestTime := refs[0], time.Time{}
	for _, ref := range refs {
		t, ok := m.times.Load(ref.Commit())
		if !ok {
			return best, fmt.Errorf("%w: the remote did not send commit %s", ErrReference, ref.Commit())
		}
		if t := t.(time.Time); t.After(bestTime) {
			best, bestTime = ref, t
		}
	}
	return best, nil
}

// fetchTimes learns when commits were made. They go to a directory of their own: the mirror holds only
// commits with their trees.
func (m *mirror) fetchTimes(ctx context.Context, commits []Hash) error {
	return m.scratch(ctx, wire.FetchRequest{Want: commits, Depth: 1, Filter: "tree:0"}, func(db objects) error {
		for _, h := range commits {
			c, err := readCommit(db, h)
			if err != nil {
				return err
			}
			m.times.Store(h, c.Time)
		}
		return nil
	})
}
