package gitrepo

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/gitops-toolkit/flux/test/servers/git"
)

// A repository that begins small and grows by an ordinary commit has not outgrown its mirror: the
// next commit moves what changed.
func TestGrownRepositoryIsNotFetchedAnew(t *testing.T) {
	t.Parallel()
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort})
	remote := Remote{URL: srv.HTTPURL("fleet")}
	get(t, store, remote, Reference{Branch: "main"})

	rnd := rand.New(rand.NewPCG(7, 8))
	files := map[string]string{}
	for i := range 30 {
		data := make([]byte, 1<<20)
		for j := range data {
			data[j] = byte(rnd.Uint32())
		}
		files[fmt.Sprintf("data/%d", i)] = string(data)
	}
	commit(t, repo, git.Change{Message: "Grow", Files: files})
	get(t, store, remote, Reference{Branch: "main"})

	srv.ResetRequests()
	commit(t, repo, git.Change{Message: "One line", Files: map[string]string{"line": "x"}})
	rev, got := get(t, store, remote, Reference{Branch: "main"})
	check(t, repo, rev, got, "main")
	if sent := git.Sent(srv.Requests()); sent > 64<<10 {
		t.Errorf("a one-line commit moved %d bytes", sent)
	}
}
