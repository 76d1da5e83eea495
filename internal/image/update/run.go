package update

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/image/edits"
	"github.com/gitops-toolkit/flux/internal/image/spec"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// run is one attempt to bring the repository up to date. It is a background job.
type run struct {
	*controller
	req    *request
	obj    *imagev1.ImageUpdateAutomation
	repo   *sourcev1.GitRepository
	images map[string]imagev1.ImageRef
	// policies are all of the namespace, and whether each has chosen an image.
	policies map[string]bool
	branch   string
}

// result is what a run came to; it is filled as far as the run got.
type result struct {
	// images of the policies that it went by.
	images map[string]imagev1.ImageRef
	// unchanged says that there was nothing to do but to look.
	unchanged bool
	// revision is what was checked out, or pushed to the same branch.
	revision string
	// commit was pushed at a time, "" if none was.
	commit string
	pushed time.Time
	// owed is the commit that the refspec has yet to get, if that has changed.
	owed *string
	// skipped are the markers that nothing was written to.
	skipped []edits.Skipped
}

// newRun checks the spec and gathers what a run needs; all of it is in memory.
func (c *controller) newRun(ctx context.Context, req *request) (*run, *failure) {
	r := &run{controller: c, req: req, obj: req.Object}
	selector, f := checkSpec(r.obj)
	if f != nil {
		return nil, f
	}
	if r.images, r.policies, f = c.policies(ctx, r.obj, selector); f != nil {
		return nil, f
	}
	if r.repo, f = c.repository(ctx, r.obj); f != nil {
		return nil, f
	}
	var err error
	if r.branch, err = spec.PushBranch(r.obj, r.repo); err != nil {
		return nil, unconfigured(err)
	}
	return r, nil
}

// lane is the host that the run may have to wait for: a server that hangs stops no run with another.
func (r *run) lane() string {
	u, err := url.Parse(r.repo.Spec.URL)
	if err != nil { // The run fails by itself, without waiting.
		return ""
	}
	return u.Scheme + "://" + strings.ToLower(u.Host)
}

// key names the desire: another GitRepository overtakes a run that hangs on the old. What policies choose meanwhile does
// not, but brings the next run at once.
func (r *run) key() string {
	versions, _ := r.versions()
	return "run/" + versions
}

// do is the job. The value is always a *result, the error a *failure.
func (r *run) do(ctx context.Context) (any, error) {
	out := &result{images: r.images}
	fail := r.attempt(ctx, out)
	if fail == nil {
		return out, nil
	}
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), kernel.ErrSuperseded) {
		return out, context.Cause(ctx)
	}
	return out, fail
}

const (
	// attempts at a push in one run, each on the tip that the one before was too late for.
	attempts = 12
	// pause before the second attempt; the next ones are longer, up to longest.
	pause   = 50 * time.Millisecond
	longest = 2 * time.Second
)

// attempt runs until nobody else was faster.
func (r *run) attempt(ctx context.Context, out *result) *failure {
	if f := r.checkImages(); f != nil {
		return f
	}
	wait := pause
	for n := 1; ; n++ {
		f := r.once(ctx, out)
		if f == nil || n == attempts || !errors.Is(f, gitrepo.ErrNonFastForward) || out.commit != "" {
			return f
		}
		r.req.Log.V(1).Info("somebody else pushed first; beginning anew", "attempt", n)
		select {
		case <-ctx.Done():
			return f
		case <-time.After(wait/2 + rand.N(wait)):
		}
		wait = min(2*wait, longest)
	}
}

// checkImages refuses what would make no image.
func (r *run) checkImages() *failure {
	for _, ref := range r.images {
		if _, err := name.ParseReference(ref.String(), name.WeakValidation); err != nil {
			return &failure{reason: imagev1.UpdateFailedReason, err: fmt.Errorf("failed to apply policies: encountered invalid image ref %q: %w", ref.String(), err)}
		}
	}
	return nil
}

// once looks the branches up, plans on their tip, commits and pushes.
func (r *run) once(ctx context.Context, out *result) *failure {
	remote, f := r.remote(ctx)
	if f != nil {
		return f
	}
	b, f := r.lookUp(ctx, remote)
	if f != nil {
		return f
	}
	out.revision = b.checkout.String()
	owing := r.pushOwed(ctx, remote, b, out)
	if r.upToDate(b) {
		out.unchanged = true
		return owing
	}
	release, waited, err := r.turns.take(ctx, remote.URL+" "+r.branch)
	if err != nil {
		return gitFailed(doingCheckout, r, err)
	}
	defer release()
	if waited { // Whoever had the turn may have pushed.
		if b, f = r.lookUp(ctx, remote); f != nil {
			return f
		}
		out.revision = b.checkout.String()
	}
	snap, err := r.fetch(ctx, remote, b.base)
	if err != nil {
		return gitFailed(doingCheckout, r, err)
	}
	defer snap.Close()
	plan, err := r.finder.Plan(ctx, snap, r.path(), spec.Lookup(r.obj.Namespace, r.images))
	if err != nil {
		return &failure{reason: imagev1.UpdateFailedReason, err: fmt.Errorf("failed to apply policies: %w", err)}
	}
	out.skipped = r.unresolved(plan.Skipped)
	if len(plan.Edits) == 0 {
		if owing == nil {
			r.seen(b)
		}
		return owing
	}
	if f := r.commitAndPush(ctx, remote, b, snap, plan, out); f != nil || out.commit != "" {
		return f
	}
	return owing
}

// path is the directory to update.
func (r *run) path() string {
	if r.obj.Spec.Update == nil {
		return ""
	}
	return r.obj.Spec.Update.Path
}

// unresolved are the markers that nobody will ever write to: those of other automations and of other namespaces are none
// of our business.
func (r *run) unresolved(all []edits.Skipped) (out []edits.Skipped) {
	for _, s := range all {
		if s.Missing {
			ns, rest, _ := strings.Cut(s.Setter, ":")
			policy, _, _ := strings.Cut(rest, ":")
			if chosen, there := r.policies[policy]; ns != r.obj.Namespace || there && chosen {
				continue
			}
		}
		out = append(out, s)
	}
	return out
}

// fetch brings a revision here, with those of its files that may have markers.
func (r *run) fetch(ctx context.Context, remote gitrepo.Remote, rev gitrepo.Revision) (*gitrepo.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, r.repo.GetTimeout())
	defer cancel()
	return r.Git.FetchFiles(ctx, remote, rev, edits.Clean(r.path()), edits.IsYAML)
}

func (r *run) resolve(ctx context.Context, remote gitrepo.Remote, ref gitrepo.Reference) (gitrepo.Revision, error) {
	ctx, cancel := context.WithTimeout(ctx, r.repo.GetTimeout())
	defer cancel()
	return r.Git.Resolve(ctx, remote, ref)
}
