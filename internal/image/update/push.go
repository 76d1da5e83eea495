package update

import (
	"context"
	"errors"
	"fmt"
	"time"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/image/edits"
	"github.com/gitops-toolkit/flux/internal/image/message"
	"github.com/gitops-toolkit/flux/internal/image/spec"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// doingUpdate begins the messages about commit and push.
const doingUpdate = "failed to update source"

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
	if !r.ForcePush && b.switched && b.old != (gitrepo.Hash{}) && b.old != b.base.Commit {
		return gitFailed(doingUpdate, r, fmt.Errorf("%w: branch '%s' is at %s, which the new commit does not build on; delete the branch or bring it up to date",
			errStale, r.branch, b.old))
	}
	// From here on the push is brought to its end: a server that has taken half of it tells nobody.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.repo.GetTimeout())
	defer cancel()
	update := gitrepo.Update{Ref: "refs/heads/" + r.branch, Old: b.old}
	if err := r.push(ctx, remote, commit, update); err != nil {
		return gitFailed(doingUpdate, r, err)
	}
	r.pushed(b, commit, text, out)
	if _, ok, _ := spec.Refspec(r.obj); ok {
		r.memory().pending = commit
		if f := r.pushRefspec(ctx, remote, b, commit); f != nil {
			return f
		}
	}
	return nil
}

// errStale says that a push branch needs force, which is off.
var errStale = errors.New("non-fast-forward")

// push pushes to one ref. If the answer of the server was lost, the ref tells whether it took the commit.
func (r *run) push(ctx context.Context, remote gitrepo.Remote, commit *gitrepo.NewCommit, update gitrepo.Update) error {
	err := r.Git.Push(ctx, remote, commit, []gitrepo.Update{update}, spec.PushOptions(r.obj)...)
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

// pushed records a push to the branch, and tells of it at once.
func (r *run) pushed(b branches, commit *gitrepo.NewCommit, text string, out *result) {
	out.commit, out.pushed = commit.Hash.String(), time.Now()
	if !b.switched {
		out.revision = r.branch + "@sha1:" + out.commit
	}
	old := b
	old.old = commit.Hash
	if !b.switched {
		old.checkout = gitrepo.Revision{Name: r.branch, Commit: commit.Hash}
	}
	r.seen(old)
	where := fmt.Sprintf("branch '%s'", r.branch)
	if _, ok, _ := spec.Refspec(r.obj); ok {
		where += fmt.Sprintf(" and refspecs '%s'", r.obj.Spec.GitSpec.Push.Refspec)
	}
	told := kernel.Normal(meta.SucceededReason, fmt.Sprintf("pushed commit '%s' to %s\n%s", out.commit[:7], where, text), nil)
	r.req.Event(told)
}

// pushPending brings a commit to the refspec that came to its branch in an earlier run, but not further.
func (r *run) pushPending(ctx context.Context, remote gitrepo.Remote, out *result) *failure {
	m := r.memory()
	_, ok, _ := spec.Refspec(r.obj)
	if m.pending == nil || !ok {
		return nil
	}
	b, f := r.lookUp(ctx, remote)
	if f != nil {
		return f
	}
	if b.old != m.pending.Hash { // The branch has moved on.
		m.pending = nil
		return nil
	}
	out.unchanged = false
	return r.pushRefspec(ctx, remote, b, m.pending)
}

// pushRefspec pushes the commit to the destination of the refspec. A ref that the commit does not build on is moved with
// force only if that is on, and never if it is the branch that was checked out.
func (r *run) pushRefspec(ctx context.Context, remote gitrepo.Remote, b branches, commit *gitrepo.NewCommit) *failure {
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
	builds := old == (gitrepo.Hash{}) || old == b.base.Commit || old == commit.Hash
	if !builds && (own || !r.ForcePush) {
		return gitFailed(doingUpdate, r, fmt.Errorf("%w: '%s' is at %s, which the new commit does not build on; bring branch '%s' up to date or delete it",
			errStale, to, old, r.branch))
	}
	if err := r.push(ctx, remote, commit, gitrepo.Update{Ref: to, Old: old}); err != nil {
		return gitFailed(doingUpdate, r, err)
	}
	r.memory().pending = nil
	return nil
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

// gitFailed is the failure of a Git operation, with what to do next.
func gitFailed(doing string, r *run, err error) *failure {
	secret := "the credentials"
	if ref := r.repo.Spec.SecretRef; ref != nil {
		secret = fmt.Sprintf("the credentials in the Secret '%s/%s'", r.repo.Namespace, ref.Name)
	}
	next := ""
	switch {
	case errors.Is(err, gitrepo.ErrRejected):
		next = fmt.Sprintf("a hook of the server or the protection of the branch refused it: allow it there, or name another branch than '%s' in spec.git.push.branch", r.branch)
	case errors.Is(err, gitrepo.ErrNonFastForward):
		next = "others pushed faster; it is tried again"
	case errors.Is(err, gitrepo.ErrAuthentication), errors.Is(err, gitrepo.ErrAuthorization), doing == doingUpdate && errors.Is(err, gitrepo.ErrRepositoryNotFound):
		next = fmt.Sprintf("check that %s of the GitRepository '%s/%s' allow to write", secret, r.repo.Namespace, r.repo.Name)
	case errors.Is(err, gitrepo.ErrReference):
		next = "correct spec.git.checkout.ref or spec.ref of the GitRepository"
	case errors.Is(err, context.DeadlineExceeded):
		next = fmt.Sprintf("check that the server can be reached, or raise spec.timeout (%s) of the GitRepository", r.repo.GetTimeout())
	}
	err = fmt.Errorf("%s: %w", doing, err)
	if next != "" {
		err = fmt.Errorf("%w; %s", err, next)
	}
	return &failure{reason: imagev1.GitOperationFailedReason, err: err}
}
