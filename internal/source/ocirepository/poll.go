package ocirepository

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry"
)

// poll is one look at the registry, with what follows from it. It is a background job.
type poll struct {
	*controller
	req *request
	obj *sourcev1.OCIRepository
}

// found is what a poll came to; it is filled as far as the poll got.
type found struct {
	// artifact is to be advertised: the one of before, a new one, or none.
	artifact *meta.Artifact
	// url is the stable address of the artifact.
	url string
	// revision is what the reference means, "" if that is not known, and reference how it is called there.
	revision, reference string
	// outdated says that the reference means another revision than the artifact of before.
	outdated bool
	// stored says that artifact was made by this poll.
	stored bool
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
	versions, _ := p.versions(p.obj, nil)
	return "poll/" + versions + p.trustVersion()
}

// run is the job. The value is always a *found, the error a *failure.
func (p *poll) run(ctx context.Context) (any, error) {
	f := &found{url: p.obj.Status.URL}
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
	ref := reference(p.obj)
	if f.artifact != nil && ref.Digest != "" && current(p.obj, ref.Digest) && p.proven(ref.Digest) {
		f.revision = ref.Digest
		return p.offer(ctx, f)
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
	f.outdated = p.obj.Status.Artifact == nil || p.obj.Status.Artifact.Revision != f.revision
	known := f.artifact != nil && current(p.obj, f.revision)
	if known && p.proven(f.revision) {
		return p.offer(ctx, f)
	}
	p.announce(f)
	if fail := p.verify(ctx, repo, revision, f); fail != nil {
		return fail
	}
	if known {
		return p.offer(ctx, f)
	}
	if fail := p.take(ctx, repo, revision, f); fail != nil {
		return fail
	}
	return p.offer(ctx, f)
}

// named is how a revision is called at its registry.
func named(repo *registry.Repository, v registry.Revision) string {
	if v.Tag == "" {
		return repo.Name() + "@" + v.Digest
	}
	return repo.Name() + ":" + v.Tag
}

// announce tells that an artifact is on its way, for the case that it takes long.
func (p *poll) announce(f *found) {
	if !f.outdated {
		return
	}
	message := building(f)
	p.req.Progress(kernel.Progress{Message: message, Ready: message, Conditions: outdatedConditions(f)})
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

// resolve finds out what the reference means. It and fetch are the operations that spec.timeout limits, each.
func (p *poll) resolve(ctx context.Context, repo *registry.Repository, ref registry.Reference) (registry.Revision, *failure) {
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
func (p *poll) failed(reason, doing string, err error) *failure {
	forget(p.req)
	if errors.Is(err, registry.ErrPlain) {
		reason = sourcev1.AuthenticationFailedReason
	}
	f := fetchFailed(reason, fmt.Errorf("%s: %w", doing, explain(p.obj, err)))
	var throttle *registry.ThrottledError
	if errors.As(err, &throttle) {
		f.after = min(throttle.After, maxThrottle)
	}
	return f
}
