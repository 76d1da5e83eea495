package update

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/image/edits"
	"github.com/gitops-toolkit/flux/internal/image/message"
	"github.com/gitops-toolkit/flux/internal/image/spec"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// commitAndPush makes the commit and brings it to the branch and to the refspec.
func (r *run) commitAndPush(ctx context.Context, remote gitrepo.Remote, b branches, snap *gitrepo.Snapshot, plan edits.Plan, out *result) *failure {
	text, err := r.message(plan.Changes)
	if err != nil {
		return gitFailed(doingUpdate, r, err)
	}
	signer, f := r.signer(ctx)
	if f != nil {
		return f
	}
	author := r.obj.Spec.GitSpec.Commit.Author
	commit, err := gitrepo.Draft{
		Base: snap, Edits: plan.Edits, Message: text, Signer: signer,
		Author: gitrepo.Person{Name: author.Name, Email: author.Email, When: time.Now()},
	}.Make()
	if errors.Is(err, gitrepo.ErrNoChange) {
		r.seen(b)
		return nil
	}
	if err != nil {
		return gitFailed(doingUpdate, r, err)
	}
	if done, f := r.alreadyThere(ctx, remote, b, commit); f != nil || done {
		return f
	}
	if f := r.checkForce(ctx, remote, b); f != nil {
		return f
	}
	_, toRefspec, _ := spec.Refspec(r.obj)
	if toRefspec {
		if f := r.owe(ctx, commit.Hash.String(), out); f != nil {
			return f
		}
	}
	// From here on the push is brought to its end: a server that has taken half of it tells nobody.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.repo.GetTimeout())
	defer cancel()
	update := gitrepo.Update{Ref: "refs/heads/" + r.branch, Old: b.old}
	if err := r.push(ctx, remote, commit, update); err != nil {
		return gitFailed(doingUpdate, r, err)
	}
	where := r.pushed(&b, commit, out)
	if toRefspec {
		if f = r.pushRefspec(ctx, remote, b.base.Commit, commit, out); f == nil {
			where += fmt.Sprintf(" and refspecs '%s'", r.obj.Spec.GitSpec.Push.Refspec)
		}
	}
	r.tell(out.commit, where, text)
	if f == nil {
		r.seen(b)
	}
	return f
}

// tell sends the event of a push at once.
func (r *run) tell(commit, where, text string) {
	told := fmt.Sprintf("pushed commit '%s' to %s", commit[:7], where)
	if text != "" {
		told += "\n" + text
	}
	r.req.Event(kernel.Normal(meta.SucceededReason, told, nil))
}

// checkForce refuses, where force is off, to move a push branch to a commit that does not build on it.
func (r *run) checkForce(ctx context.Context, remote gitrepo.Remote, b branches) *failure {
	if r.ForcePush || !b.switched || b.old == (gitrepo.Hash{}) {
		return nil
	}
	builds, f := r.builds(ctx, remote, b.base.Commit, b.old)
	if f == nil && !builds {
		f = gitFailed(doingUpdate, r, fmt.Errorf("%w: branch '%s' is at %s, which the new commit does not build on; delete the branch or bring it up to date",
			errStale, r.branch, b.old))
	}
	return f
}

// builds asks the server, where it is not plain, whether a commit has another one in its history.
func (r *run) builds(ctx context.Context, remote gitrepo.Remote, tip, on gitrepo.Hash) (bool, *failure) {
	ctx, cancel := context.WithTimeout(ctx, r.repo.GetTimeout())
	defer cancel()
	builds, err := r.Git.Reaches(ctx, remote, tip, on)
	if err != nil {
		return false, gitFailed(doingUpdate, r, err)
	}
	return builds, nil
}

// errStale says that a push branch needs force, which is off.
var errStale = errors.New("non-fast-forward")

// push pushes to one ref. If the answer of the server was lost, the ref tells whether it took the commit.
func (r *run) push(ctx context.Context, remote gitrepo.Remote, commit *gitrepo.NewCommit, update gitrepo.Update) error {
	options, err := spec.PushOptions(r.obj)
	if err != nil {
		return err
	}
	err = r.Git.Push(ctx, remote, commit, []gitrepo.Update{update}, options...)
	if err == nil || errors.Is(err, gitrepo.ErrNonFastForward) || errors.Is(err, gitrepo.ErrRejected) {
		return err
	}
	again, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.repo.GetTimeout())
	defer cancel()
	if rev, look := r.Git.Resolve(again, remote, gitrepo.Reference{Name: update.Ref}); look == nil && rev.Commit == commit.Hash {
		return nil
	}
	return err
}

// pushed records a push to the branch, which it names.
func (r *run) pushed(b *branches, commit *gitrepo.NewCommit, out *result) (where string) {
	out.commit, out.pushed = commit.Hash.String(), time.Now()
	b.old = commit.Hash
	if !b.switched {
		b.checkout = gitrepo.Revision{Name: r.branch, Commit: commit.Hash}
		out.revision = b.checkout.String()
	}
	return fmt.Sprintf("branch '%s'", r.branch)
}

// alreadyThere tells, for a branch that each run begins anew, whether it has these files already.
func (r *run) alreadyThere(ctx context.Context, remote gitrepo.Remote, b branches, commit *gitrepo.NewCommit) (bool, *failure) {
	if !b.switched || b.old == (gitrepo.Hash{}) || b.old == b.base.Commit {
		return false, nil
	}
	rev, err := r.resolve(ctx, remote, gitrepo.Reference{Branch: r.branch})
	if err != nil {
		return false, gitFailed(doingUpdate, r, err)
	}
	tip, err := r.fetch(ctx, remote, rev)
	if err != nil {
		return false, gitFailed(doingUpdate, r, err)
	}
	defer tip.Close()
	if tip.Root() != commit.Tree {
		return false, nil
	}
	r.seen(b)
	return true, nil
}

// message renders the template.
func (r *run) message(changes []edits.Change) (string, error) {
	c := r.obj.Spec.GitSpec.Commit
	t, err := message.Parse(c.MessageTemplate)
	if err != nil {
		return "", err
	}
	return t.Render(message.Name{Namespace: r.obj.Namespace, Name: r.obj.Name}, message.NewResult(changes), c.MessageTemplateValues)
}
