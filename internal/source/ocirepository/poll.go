package ocirepository

import (
	"context"
	"errors"
	"fmt"
	"strings"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// poll is one look at the registry, with what follows from it. It is a background job.
type poll struct {
	*controller
	req *request
	obj *sourcev1.OCIRepository
}

// found is what a poll came to; it is filled as far as the poll got.
type found struct {
	attempt.Found
	// revision is what the reference means, "" if that is not known, and reference how it is called there.
	revision, reference string
	// verified is what was found out about the signature by this poll, nil if it was not looked at.
	verified *verdict
}

func (c *controller) newPoll(req *request) *poll {
	return &poll{controller: c, req: req, obj: req.Object}
}

// lane is the registry that the poll may have to wait for: one that hangs stops no poll of another.
func (p *poll) lane() string {
	host, _, _ := registry.HostAndName(p.obj.Spec.URL) // A URL that is none was found before.
	return strings.ToLower(host)
}

// key names the desire: other credentials overtake a poll that hangs on the old ones.
func (p *poll) key() string {
	versions, _ := p.registries.State(wayTo(p.obj), nil)
	return "poll/" + versions + p.trustVersion()
}

// run is the job. The value is always a *found, the error a *attempt.Failure.
func (p *poll) run(ctx context.Context) (any, error) {
	f := &found{Found: attempt.Found{URL: p.obj.Status.URL}}
	return attempt.Result(ctx, f, p.look(ctx, f))
}

func (p *poll) look(ctx context.Context, f *found) *attempt.Failure {
	if fail := p.shelf(p.obj).Check(ctx, p.req, p.obj.Status.Artifact, &f.Found); fail != nil {
		return fail
	}
	ref := reference(p.obj)
	if f.Artifact != nil && ref.Digest != "" && current(p.obj, ref.Digest) && p.proven(ref.Digest) {
		f.revision = ref.Digest
		return p.shelf(p.obj).Offer(ctx, p.req, &f.Found)
	}
	repo, fail := p.repository(ctx, p.req)
	if fail != nil {
		return fail
	}
	revision, fail := p.resolve(ctx, repo, ref)
	if fail != nil {
		return fail
	}
	f.revision, f.reference = revision.String(), named(repo, revision)
	known := f.Artifact != nil && current(p.obj, f.revision)
	if known && p.proven(f.revision) {
		return p.shelf(p.obj).Offer(ctx, p.req, &f.Found)
	}
	if p.obj.Status.Artifact == nil || p.obj.Status.Artifact.Revision != f.revision {
		f.Outdate(p.req, sourcev1.NewRevisionReason, fmt.Sprintf("new revision '%s' for '%s'", f.revision, f.reference))
	}
	if fail := p.verify(ctx, repo, revision, f); fail != nil {
		return fail
	}
	if known {
		return p.shelf(p.obj).Offer(ctx, p.req, &f.Found)
	}
	if fail := p.take(ctx, repo, revision, f); fail != nil {
		return fail
	}
	return p.shelf(p.obj).Offer(ctx, p.req, &f.Found)
}

// named is how a revision is called at its registry.
func named(repo *registry.Repository, v registry.Revision) string {
	if v.Tag == "" {
		return repo.Name() + "@" + v.Digest
	}
	return repo.Name() + ":" + v.Tag
}

// resolve finds out what the reference means. It and fetch are the operations that spec.timeout limits, each.
func (p *poll) resolve(ctx context.Context, repo *registry.Repository, ref registry.Reference) (registry.Revision, *attempt.Failure) {
	if ref.Digest != "" {
		return registry.Revision{Digest: ref.Digest}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.obj.GetTimeout())
	defer cancel()
	tag, err := repo.SelectTag(ctx, ref)
	if err != nil {
		return registry.Revision{}, p.failed(sourcev1.ReadOperationFailedReason, fmt.Sprintf("failed to determine the artifact tag for '%s'", p.obj.Spec.URL), err)
	}
	digest, err := repo.Digest(ctx, tag)
	if err != nil {
		return registry.Revision{}, p.failed(sourcev1.OCIArtifactPullFailedReason, "failed to determine artifact digest", err)
	}
	return registry.Revision{Tag: tag, Digest: digest}, nil
}

// failed is the failure of an operation at the registry. What the registry said before is asked anew the next time.
func (p *poll) failed(reason, doing string, err error) *attempt.Failure {
	forget(p.req)
	if errors.Is(err, registry.ErrPlain) {
		reason = sourcev1.AuthenticationFailedReason
	}
	return attempt.Fetch(reason, fmt.Errorf("%s: %w", doing, explain(p.obj, err)))
}
