package gitrepository

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// poll is one look at the repository, with what follows from it. It is a background job.
type poll struct {
	*controller
	req *request
	obj *sourcev1.GitRepository
	// includes are the artifacts of spec.include, in its order.
	includes []*meta.Artifact
}

// found is what a poll came to; it is filled as far as the poll got.
type found struct {
	// artifact is to be advertised: the one of before, a new one, or none.
	artifact *meta.Artifact
	// revision is what the reference means, "" if that is not known.
	revision string
	// outdated says why the artifact of before is not what is wanted, if that is known.
	outdated []metav1.Condition
	// stored says that artifact was archived by this poll, from a commit with this subject.
	stored  bool
	subject string
	// included are the artifacts that went into it.
	included []*meta.Artifact
	// verified is set by a poll that verified signatures.
	verified *verified
}

func (c *controller) newPoll(ctx context.Context, req *request) (*poll, *failure) {
	included, f := c.included(ctx, req.Object)
	return &poll{controller: c, req: req, obj: req.Object, includes: included}, f
}

// lane is the host that the poll may have to wait for: a server that hangs stops no poll of another.
func (p *poll) lane() string {
	u, err := url.Parse(p.obj.Spec.URL)
	if err != nil { // The poll fails by itself, without waiting.
		return ""
	}
	return u.Scheme + "://" + strings.ToLower(u.Host)
}

// key names the desire: other credentials, or another artifact to include, overtake a poll that hangs on the old.
func (p *poll) key() string {
	versions, _ := p.versions(p.obj)
	for _, a := range p.includes {
		versions += "/" + a.Revision + "/" + a.Digest
	}
	return "poll/" + versions
}

// run is the job. The value is always a *found, the error a *failure.
func (p *poll) run(ctx context.Context) (any, error) {
	f := &found{}
	if fail := p.look(ctx, f); fail != nil {
		if ctx.Err() != nil && errors.Is(context.Cause(ctx), kernel.ErrSuperseded) {
			return f, context.Cause(ctx)
		}
		return f, fail
	}
	return f, nil
}

func (p *poll) look(ctx context.Context, f *found) *failure {
	progress, fail := p.checkStored(ctx, f)
	if fail != nil {
		return fail
	}
	if f.artifact == nil {
		p.req.Progress(kernel.Progress{Message: progress, Ready: progress})
	}
	remote, fail := p.remote(ctx, p.req)
	if fail != nil {
		return fail
	}
	rev, err := p.resolve(ctx, remote)
	if err != nil {
		return p.gitFailed(err)
	}
	f.revision = rev.String()
	f.outdated = p.outdated(f.revision)
	same := f.artifact != nil && current(p.obj, rev, p.includes)
	if same && !unproven(p.obj) {
		return p.collect(ctx, f)
	}
	p.announce(f)
	return p.take(ctx, remote, rev, f, same)
}

// announce tells that an artifact is on its way, for the case that it takes long.
func (p *poll) announce(f *found) {
	if len(f.outdated) == 0 {
		return
	}
	message := "building artifact: " + f.outdated[0].Message
	p.req.Progress(kernel.Progress{Message: message, Ready: message, Conditions: f.outdated})
}

// outdated tells what is newer than the artifact of before.
func (p *poll) outdated(revision string) []metav1.Condition {
	switch a := p.obj.Status.Artifact; {
	case a == nil || canonical(a.Revision) != revision:
		return outdated(sourcev1.NewRevisionReason, fmt.Sprintf("new upstream revision '%s'", revision))
	case !sameArtifacts(p.includes, p.obj.Status.IncludedArtifacts):
		return outdated(sourcev1.IncludeChangeReason, includeChanged)
	}
	return nil
}

// checkStored looks whether the artifact that the status advertises is still what it says. It returns what to tell
// of the progress if it is not.
func (p *poll) checkStored(ctx context.Context, f *found) (progress string, fail *failure) {
	if p.obj.Status.Artifact == nil {
		return "building artifact", nil
	}
	ref, err := p.Artifacts.Check(ctx, refOf(p.obj.Status.Artifact))
	var damage *store.IntegrityError
	switch {
	case err == nil:
		f.artifact = p.obj.Status.Artifact.DeepCopy()
		f.artifact.URL = ref.URL
		return "", nil
	case errors.As(err, &damage):
		p.req.Event(kernel.Warning("ArtifactVerificationFailed", fmt.Sprintf("failed to verify integrity of artifact: %s", err), nil))
		return "building artifact: disappeared from storage", nil
	case errors.Is(err, store.ErrMissing), errors.Is(err, store.ErrName):
		return "building artifact: disappeared from storage", nil
	}
	f.artifact = p.obj.Status.Artifact
	return "", storageFailed(sourcev1.StatOperationFailedReason, fmt.Errorf("unable to check the stored artifact: %w", err))
}

// resolve and fetch are the operations that spec.timeout limits, each.
func (p *poll) resolve(ctx context.Context, remote gitrepo.Remote) (gitrepo.Revision, error) {
	ctx, cancel := context.WithTimeout(ctx, p.obj.GetTimeout())
	defer cancel()
	return p.Git.Resolve(ctx, remote, reference(p.obj))
}

func (p *poll) fetch(ctx context.Context, remote gitrepo.Remote, rev gitrepo.Revision) (*gitrepo.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, p.obj.GetTimeout())
	defer cancel()
	return p.Git.Fetch(ctx, remote, rev)
}

// take fetches the revision, verifies it, and stores its files unless the artifact is of the same.
func (p *poll) take(ctx context.Context, remote gitrepo.Remote, rev gitrepo.Revision, f *found, same bool) *failure {
	snap, err := p.fetch(ctx, remote, rev)
	if err != nil {
		return p.gitFailed(err)
	}
	defer snap.Close()
	var fail *failure
	if f.verified, fail = p.verify(ctx, snap); fail != nil {
		return fail
	}
	if same {
		return p.collect(ctx, f)
	}
	artifact, fail := p.archive(ctx, remote, snap)
	if fail != nil {
		return fail
	}
	f.artifact, f.stored, f.subject, f.included = artifact, true, snap.Commit().Subject(), p.includes
	return p.collect(ctx, f)
}

// gitFailed is the failure of a Git operation.
func (p *poll) gitFailed(err error) *failure {
	switch {
	case errors.Is(err, gitrepo.ErrURL):
		return stalled(sourcev1.URLInvalidReason, fmt.Errorf("spec.url: %w", err))
	case errors.Is(err, gitrepo.ErrEmpty):
		return fetchFailed(sourcev1.EmptyGitRepositoryReason, explain(p.obj, err))
	case errors.Is(err, gitrepo.ErrCredentials), errors.Is(err, gitrepo.ErrEncryptedKey):
		return fetchFailed(sourcev1.AuthenticationFailedReason, explain(p.obj, err))
	}
	return fetchFailed(sourcev1.GitOperationFailedReason, fmt.Errorf("failed to checkout and determine revision: %w", explain(p.obj, err)))
}
