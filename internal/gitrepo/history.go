package gitrepo

import (
	"context"

	"github.com/gitops-toolkit/flux/internal/gitrepo/wire"
)

// maxHistory is how many generations Reaches looks back.
const maxHistory = 1000

// Reaches tells whether a commit, which is the tip of a ref, builds on another one. The history is fetched for it,
// without files if the server can leave them out, and thrown away.
func (s *Store) Reaches(ctx context.Context, r Remote, tip, earlier Hash) (bool, error) {
	if tip == earlier {
		return true, nil
	}
	m, err := s.mirror(r)
	if err != nil {
		return false, err
	}
	found := false
	err = m.scratch(ctx, wire.FetchRequest{Want: []Hash{tip}, Depth: maxHistory, Filter: "tree:0"}, func(db objects) error {
		found, err = reaches(db, tip, earlier)
		return err
	})
	if err != nil {
		return false, m.wrap(ctx, err)
	}
	return found, nil
}

// reaches walks the commits that are there.
func reaches(db objects, tip, earlier Hash) (bool, error) {
	seen := map[Hash]bool{tip: true}
	for next := []Hash{tip}; len(next) > 0; {
		hash := next[len(next)-1]
		next = next[:len(next)-1]
		if hash == earlier {
			return true, nil
		}
		if !db.Has(hash) { // Beyond what was fetched.
			continue
		}
		commit, _, err := decodeCommit(db, hash)
		if err != nil {
			return false, err
		}
		for _, parent := range commit.ParentHashes {
			if !seen[parent] {
				seen[parent] = true
				next = append(next, parent)
			}
		}
	}
	return false, nil
}
