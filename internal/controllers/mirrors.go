package controllers

import (
	"fmt"

	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// mirrors are the Git mirrors of a process, by the SSH algorithms that may be used. Controllers that run together share
// them: a repository that is a source and is written to is fetched once.
type mirrors map[string]*gitrepo.Store

// openMirrors returns those that fit the flags; the first controller to ask says where they are.
func (v Values) openMirrors(m *kernel.Manager, dir func() (string, error)) (*gitrepo.Store, error) {
	algorithms := gitrepo.Algorithms{KeyExchanges: v.Strings("ssh-kex-algos"), HostKeys: v.Strings("ssh-hostkey-algos")}
	key := fmt.Sprint(algorithms)
	if open := v.mirrors[key]; open != nil {
		return open, nil
	}
	at, err := dir()
	if err != nil {
		return nil, fmt.Errorf("open the directory of the Git mirrors: %w", err)
	}
	s, err := gitrepo.NewStore(at, gitrepo.Options{Algorithms: algorithms})
	if err != nil {
		return nil, err
	}
	m.AddCleanup(s.Close)
	v.mirrors[key] = s
	return s, nil
}
