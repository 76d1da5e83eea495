package gitrepository

import (
	"context"
	"path"

	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// submoduleError marks what went wrong with a submodule: spec.ref has no part in it.
type submoduleError struct{ error }

func (e submoduleError) Unwrap() error { return e.error }

// submodules fetches and mounts the submodules, if they are asked for. What is not checked out is not fetched.
func (p *poll) submodules(ctx context.Context, remote gitrepo.Remote, snap *gitrepo.Snapshot, t *tree, held *claims) *attempt.Failure {
	if !p.obj.Spec.RecurseSubmodules {
		return nil
	}
	list, err := p.Git.Submodules(ctx, remote, snap, gitrepo.SubmoduleOptions{
		Timeout: p.obj.GetTimeout(),
		Wanted:  func(at string) (bool, error) { return p.checkedOut(ctx, t, at) },
	})
	if err != nil {
		return p.gitFailed(submoduleError{err})
	}
	for _, sub := range list {
		held.add(sub.Snapshot.Close)
	}
	for _, sub := range list {
		n, name, err := t.parent(ctx, sub.Path)
		if err != nil {
			return p.gitFailed(err)
		}
		from := commitTree{sub.Snapshot}
		n.setDir(name, &node{origin: from, path: ".", id: from.Root()})
		if fail := p.large(ctx, sub.Remote, sub.Snapshot, sub.Path, t, held); fail != nil {
			return fail
		}
	}
	return nil
}

// checkedOut tells whether a submodule is part of what is checked out. One inside another is, if that one is.
func (p *poll) checkedOut(ctx context.Context, t *tree, at string) (bool, error) {
	for {
		e, found, err := t.lookup(ctx, at)
		if err != nil || found {
			return found && e.Kind == archive.Other, err
		}
		if at = path.Dir(at); at == "." {
			return false, nil
		}
	}
}
