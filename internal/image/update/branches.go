package update

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/image/spec"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// branches is where the refs of a run are.
type branches struct {
	// checkout is what the reference means.
	checkout gitrepo.Revision
	// switched says that the push goes to another branch, whose tip is old; zero if there is none.
	switched bool
	old      gitrepo.Hash
	// base is what the commit builds on.
	base gitrepo.Revision
}

// lookUp finds out where the branches are, with one listing.
func (r *run) lookUp(ctx context.Context, remote gitrepo.Remote) (b branches, f *failure) {
	ctx, cancel := context.WithTimeout(ctx, r.repo.GetTimeout())
	defer cancel()
	ref := spec.CheckoutRef(r.obj, r.repo)
	var tip gitrepo.Revision
	var err error
	if b.switched = spec.CheckoutBranch(ref) != r.branch; b.switched {
		b.checkout, tip, err = r.Git.ResolveBeside(ctx, remote, ref, r.branch)
	} else {
		b.checkout, err = r.Git.Resolve(ctx, remote, ref)
		tip = b.checkout
	}
	if err != nil {
		return b, gitFailed(doingCheckout, r, err)
	}
	b.base, b.old = b.checkout, tip.Commit
	if r.AllBranches && b.old != (gitrepo.Hash{}) {
		b.base = tip
	}
	return b, nil
}

// memory is what is kept for an automation while the process lives.
type memory struct {
	versions string
	remote   gitrepo.Remote
	until    time.Time // zero if the credentials do not age

	// A run with these found nothing to change, or changed it all.
	generation int64
	checkout   string
	old        gitrepo.Hash
	images     map[string]imagev1.ImageRef

	// owed is the commit that the refspec has yet to get; nil if only the status knows.
	owed *string
}

func (r *run) memory() *memory {
	if m, ok := r.req.Memory().(*memory); ok {
		return m
	}
	m := &memory{}
	r.req.Remember(m)
	return m
}

// upToDate tells whether a run with these branches and images has been made. Who asks for a run gets one.
func (r *run) upToDate(b branches) bool {
	st := r.obj.Status
	if r.req.Requested() != "" || st.ObservedGeneration != r.obj.Generation {
		return false
	}
	m := r.memory()
	if m.generation == r.obj.Generation && m.checkout == b.checkout.String() && m.old == b.old && samePolicies(r.images, m.images) {
		return true
	}
	_, toRefspec, _ := spec.Refspec(r.obj)
	return !b.switched && !toRefspec && st.ObservedSourceRevision == b.checkout.String() && samePolicies(r.images, st.ObservedPolicies)
}

// seen remembers a run that left nothing to do.
func (r *run) seen(b branches) {
	m := r.memory()
	m.generation, m.checkout, m.old, m.images = r.obj.Generation, b.checkout.String(), b.old, maps.Clone(r.images)
}

// versions names the GitRepository and the Secrets that a remote is built from; ok is false if the kernel cannot tell.
func (r *run) versions() (text string, ok bool) {
	return access.State(r.cluster, r.repo.Namespace, fmt.Sprintf("%s/%d", r.repo.UID, r.repo.Generation), access.GitSecrets(r.repo))
}

// remote builds the remote, or takes the one of the last time if nothing that it is built from has changed.
func (r *run) remote(ctx context.Context) (gitrepo.Remote, *failure) {
	m := r.memory()
	versions, ok := r.versions()
	if ok && m.versions == versions && (m.until.IsZero() || time.Now().Before(m.until)) {
		return m.remote, nil
	}
	remote, until, err := r.Remotes.Remote(ctx, r.req.Log, r.repo)
	if gate := (*kernel.GateDisabledError)(nil); errors.As(err, &gate) {
		return remote, stalled(kernel.FeatureGateDisabledReason, err)
	}
	if err != nil {
		return remote, unconfigured(err)
	}
	if ok {
		m.versions, m.remote, m.until = versions, remote, until
	}
	return remote, nil
}
