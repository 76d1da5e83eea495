package bootstrap_test

import (
	"bytes"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/gitops-toolkit/flux/test/servers/git"
)

// gate lets in who has a key, late when the network is slow.
type gate struct {
	public []byte
	slow   atomic.Bool
}

func (g *gate) open(key ssh.PublicKey) bool {
	if g.slow.Load() {
		time.Sleep(4 * time.Second) // longer than the cluster takes to put back what was changed
	}
	want, _, _, _, err := ssh.ParseAuthorizedKey(g.public)
	return err == nil && bytes.Equal(want.Marshal(), key.Marshal())
}

// moves has the cluster follow another branch, over a network so slow that the cluster would put its source back to
// the branch before if it were not told to leave it alone.
func (l *lab) moves(repo *git.Repo, g *gate, args []string) {
	l.Helper()
	show(l, repo, "branch", "moved", "main")
	g.slow.Store(true)
	defer g.slow.Store(false)
	said := l.flux(append(args, "--branch=moved")...)
	contains(l, said, "✔ committed sync manifests to \"moved\"", "✔ GitRepository reconciled successfully\n", "✔ Kustomization reconciled successfully\n", "✔ all components are healthy\n")
	said = l.flux("reconcile", "kustomization", "flux-system")
	contains(l, said, "✔ applied revision moved@sha1:")
	source, err := l.client.CoreV1().RESTClient().Get().AbsPath("/apis/source.toolkit.fluxcd.io/v1/namespaces", namespace, "gitrepositories", namespace).DoRaw(l.Context())
	if err != nil || !strings.Contains(string(source), `"branch":"moved"`) || strings.Contains(string(source), `"disabled"`) {
		l.Errorf("%v, the source is\n%s", err, source)
	}
}
