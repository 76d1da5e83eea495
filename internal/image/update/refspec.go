package update

import (
	"context"
	"errors"
	"fmt"
	"strings"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/image/spec"
)

// owed is the commit that a run has, or may have, brought to its branch but not to the refspec.
func (r *run) owed() string {
	if m := r.memory(); m.owed != nil {
		return *m.owed
	}
	return r.obj.Status.PendingCommit
}

// owe notes in the status, before a commit is pushed anywhere, that the refspec is to get it: a crash between the two
// pushes would lose the second, which for a review is all that counts.
func (r *run) owe(ctx context.Context, commit string, out *result) *failure {
	err := r.req.Checkpoint(ctx, func(o *imagev1.ImageUpdateAutomation) { o.Status.PendingCommit = commit })
	if err != nil {
		return &failure{reason: meta.FailedReason, err: fmt.Errorf("%s: note the commit in the status: %w", doingUpdate, err)}
	}
	r.owes(commit, out)
	return nil
}

// owes lets the status say at the end what the refspec has yet to get.
func (r *run) owes(commit string, out *result) { r.memory().owed, out.owed = &commit, &commit }

// pushOwed brings to the refspec what an earlier run could not, unless the branch has moved on since.
func (r *run) pushOwed(ctx context.Context, remote gitrepo.Remote, b branches, out *result) *failure {
	owed := r.owed()
	if owed == "" {
		return nil
	}
	_, toRefspec, _ := spec.Refspec(r.obj)
	if !toRefspec || b.old.String() != owed {
		r.owes("", out)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.repo.GetTimeout())
	defer cancel()
	if f := r.pushRefspec(ctx, remote, gitrepo.Hash{}, gitrepo.Existing(b.old), out); f != nil {
		return f
	}
	r.tell(owed, fmt.Sprintf("refspecs '%s'", r.obj.Spec.GitSpec.Push.Refspec), "")
	return nil
}

// pushRefspec pushes a commit, which its branch has, to the destination of the refspec. A ref that the commit does not
// build on is moved with force only if that is on, and never if it is the branch that was checked out.
func (r *run) pushRefspec(ctx context.Context, remote gitrepo.Remote, base gitrepo.Hash, commit *gitrepo.NewCommit, out *result) *failure {
	to, _, _ := spec.Refspec(r.obj)
	var old gitrepo.Hash
	rev, err := r.resolve(ctx, remote, gitrepo.Reference{Name: to})
	switch {
	case err == nil:
		old = rev.Commit
	case !errors.Is(err, gitrepo.ErrReference):
		return gitFailed(doingUpdate, r, err)
	}
	own := to == "refs/heads/"+spec.CheckoutBranch(spec.CheckoutRef(r.obj, r.repo))
	if old != (gitrepo.Hash{}) && old != base && (own || !r.ForcePush) {
		builds, f := r.builds(ctx, remote, commit.Hash, old)
		if f != nil {
			return f
		}
		if !builds {
			return gitFailed(doingUpdate, r, fmt.Errorf("%w: '%s' is at %s, which the new commit does not build on; bring branch '%s' up to date or delete it",
				errStale, to, old, r.branch))
		}
	}
	err = r.push(ctx, remote, commit, gitrepo.Update{Ref: to, Old: old})
	if err != nil && !reviewed(err) {
		return gitFailed(doingUpdate, r, err)
	}
	r.owes("", out)
	return nil
}

// reviewed tells that a server of reviews has the commit already, as Gerrit says it.
func reviewed(err error) bool {
	return errors.Is(err, gitrepo.ErrRejected) && strings.Contains(err.Error(), "no new changes")
}
