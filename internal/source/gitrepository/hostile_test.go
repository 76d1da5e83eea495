package gitrepository_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// TestHostileTree refuses names that lead out, wherever they are met, and says where they are and what to do.
func TestHostileTree(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	run := func(stdin string, args ...string) string {
		out, err := l.repo.Git(strings.NewReader(stdin), args...)
		l.Must(err)
		return out
	}
	tree := func(mode, name, id string) string {
		raw, err := hex.DecodeString(id)
		l.Must(err)
		data := bytes.Join([][]byte{[]byte(mode + " " + name), raw}, []byte{0})
		return run(string(data), "hash-object", "-t", "tree", "-w", "--stdin", "--literally")
	}
	bad := tree("100644", "..", run("x", "hash-object", "-w", "--stdin"))
	l.start()
	for _, tc := range []struct{ reason, name, tree, dir string }{
		{"while the archiver reads ignore rules, which have no part in it", "root", bad, "."},
		{"while it plans the archive", "deep", tree("40000", "app", bad), "app"},
	} {
		commit := run("", "commit-tree", "-m", "Hostile", tc.tree)
		l.Must(l.repo.SetRef("refs/heads/"+tc.name, commit))
		l.create(tc.name, func(o *sourcev1.GitRepository) { o.Spec.Reference.Branch = tc.name })
		_, message := l.failed(tc.name, "GitOperationFailed")
		if want := "failed to checkout and determine revision: commit '" + commit + "', directory '" + tc.dir +
			"': the tree is refused: a file must not be named \"..\"; push a commit without it, as no consumer could unpack it safely"; message != want {
			t.Errorf("%s: %q, want %q", tc.reason, message, want)
		}
	}
}
