package gitrepository

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
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
	attempt.Found
	// revision is what the reference means, "" if that is not known.
	revision string
	// subject of the commit, if this poll archived it.
	subject string
	// included are the artifacts that went into it.
	included []*meta.Artifact
	// verified is set by a poll that verified signatures.
	verified *verified
}

func (c *controller) newPoll(ctx context.Context, req *request) (*poll, *attempt.Failure) {
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

// run is the job. The value is always a *found, the error a *attempt.Failure.
func (p *poll) run(ctx context.Context) (any, error) {
	f := &found{}
	return attempt.Result(ctx, f, p.look(ctx, f))
}

func (p *poll) look(ctx context.Context, f *found) *attempt.Failure {
	if fail := p.shelf(p.obj).Check(ctx, p.req, p.obj.Status.Artifact, &f.Found); fail != nil {
		return fail
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
	same := f.Artifact != nil && current(p.obj, rev, p.includes)
	if same && !p.unproven() {
		return p.shelf(p.obj).Offer(ctx, p.req, &f.Found)
	}
	p.outdate(f)
	return p.take(ctx, remote, rev, f, same)
}

// outdate tells what is newer than the artifact of before.
func (p *poll) outdate(f *found) {
	switch a := p.obj.Status.Artifact; {
	case a == nil || canonical(a.Revision) != f.revision:
		f.Outdate(p.req, sourcev1.NewRevisionReason, fmt.Sprintf("new upstream revision '%s'", f.revision))
	case !sameArtifacts(p.includes, p.obj.Status.IncludedArtifacts):
		f.Outdate(p.req, sourcev1.IncludeChangeReason, includeChanged)
	}
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
func (p *poll) take(ctx context.Context, remote gitrepo.Remote, rev gitrepo.Revision, f *found, same bool) *attempt.Failure {
	snap, err := p.fetch(ctx, remote, rev)
	if err != nil {
		return p.gitFailed(err)
	}
	defer snap.Close()
	var fail *attempt.Failure
	if f.verified, fail = p.verify(ctx, snap); fail != nil {
		return fail
	}
	if same {
		return p.shelf(p.obj).Offer(ctx, p.req, &f.Found)
	}
	if fail := p.archive(ctx, remote, snap, f); fail != nil {
		return fail
	}
	f.subject, f.included = snap.Commit().Subject(), p.includes
	return p.shelf(p.obj).Offer(ctx, p.req, &f.Found)
}

// gitFailed is the failure of a Git operation.
func (p *poll) gitFailed(err error) *attempt.Failure {
	switch {
	case errors.Is(err, gitrepo.ErrURL):
		return attempt.Stall(sourcev1.URLInvalidReason, fmt.Errorf("spec.url: %w", err))
	case errors.Is(err, gitrepo.ErrEmpty):
		return attempt.Fetch(sourcev1.EmptyGitRepositoryReason, explain(p.obj, err))
	case errors.Is(err, gitrepo.ErrCredentials), errors.Is(err, gitrepo.ErrEncryptedKey):
		return attempt.Fetch(sourcev1.AuthenticationFailedReason, explain(p.obj, err))
	}
	return attempt.Fetch(sourcev1.GitOperationFailedReason, fmt.Errorf("failed to checkout and determine revision: %w", explain(p.obj, err)))
}
