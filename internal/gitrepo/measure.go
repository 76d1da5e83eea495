package gitrepo

import (
	"github.com/go-git/go-git/v5/plumbing"

	"github.com/gitops-toolkit/flux/internal/gitrepo/pack"
)

// measure returns about what a fresh mirror of the same refs would take: the objects that the
// newest tip of each ref reaches. A repository may grow by ordinary commits; only what nobody
// wants any more is a reason to begin anew.
func (g *generation) measure() (int64, error) {
	m := measurement{db: g.db, sizer: g.db.Sizer(), seen: map[Hash]struct{}{}}
	refs := map[string]bool{}
	for _, t := range g.state.Tips { // the newest first
		if refs[t.Ref] {
			continue
		}
		refs[t.Ref] = true
		commit, err := readCommit(g.db, plumbing.NewHash(t.Hash))
		if err != nil {
			return 0, err
		}
		if err := m.tree(commit.Tree, 0); err != nil {
			return 0, err
		}
	}
	return m.bytes, nil
}

type measurement struct {
	db    *pack.DB
	sizer *pack.Sizer
	seen  map[Hash]struct{}
	bytes int64
}

// count adds an object, false if it was counted before.
func (m *measurement) count(h Hash) bool {
	if _, ok := m.seen[h]; ok {
		return false
	}
	m.seen[h] = struct{}{}
	m.bytes += m.sizer.Size(h)
	return true
}

func (m *measurement) tree(h Hash, depth int) error {
	if depth > maxDepth || !m.count(h) {
		return nil
	}
	_, data, err := m.db.Get(h)
	if err != nil {
		return err
	}
	entries, err := parseTree(data)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch e.Mode {
		case ModeDir:
			err = m.tree(e.Hash, depth+1)
		case ModeSubmodule:
		default:
			m.count(e.Hash)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
