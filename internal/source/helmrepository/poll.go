package helmrepository

import (
	"context"
	"errors"
	"fmt"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/charts/index"
	"github.com/gitops-toolkit/flux/internal/charts/repo"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/source/helmaccess"
	"github.com/gitops-toolkit/flux/internal/source/helmaccess/versions"
)

// poll is one look at the repository, with what follows from it. It is a background job.
type poll struct {
	*controller
	req *request
	obj *sourcev1.HelmRepository
}

// found is what a poll came to; it is filled as far as the poll got.
type found struct {
	// artifact is to be advertised: the one of before, a new one, or none.
	artifact *meta.Artifact
	// url is the stable address of the artifact.
	url string
	// revision of the index, "" if that is not known.
	revision string
	// outdated says that the revision is another than that of the artifact of before.
	outdated bool
	// stored says that artifact was made by this poll, and summary what is in it.
	stored  bool
	summary index.Summary
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
	repository, fail := p.repository(ctx)
	if fail != nil {
		return fail
	}
	fetched, fail := p.fetch(ctx, repository, f)
	if fail != nil {
		return fail
	}
	defer fetched.remove()
	f.revision = string(fetched.revision)
	f.outdated = p.obj.Status.Artifact == nil || p.obj.Status.Artifact.Revision != f.revision
	if fetched.file != nil && (f.artifact == nil || f.outdated) {
		p.announce(f)
		if fail := p.store(ctx, fetched, f); fail != nil {
			return fail
		}
	}
	p.note(fetched, f.revision)
	return p.offer(ctx, f)
}

// announce tells that an artifact is on its way, for the case that it takes long.
func (p *poll) announce(f *found) {
	if f.outdated {
		message := building(f)
		p.req.Progress(kernel.Progress{Message: message, Ready: message, Conditions: outdatedConditions(f)})
	}
}

// checkStored looks whether the artifact that the status advertises is still what it says. It returns what to tell of the
// progress if it is not.
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

// connection is a repository that was opened with Secrets of these versions.
type connection struct {
	versions   string
	repository *repo.Repository
}

// repository opens the repository, or takes the one of the last time if nothing that it is made of has changed.
func (p *poll) repository(ctx context.Context) (*repo.Repository, *failure) {
	made, ok := versions.Of(p.cluster, p.obj)
	m := p.memory()
	if ok && m.connection.versions == made {
		return m.connection.repository, nil
	}
	r, err := helmaccess.HTTP(ctx, p.cluster, p.req.Log, p.obj, p.Connections)
	switch {
	case errors.Is(err, repo.ErrURL):
		return nil, stalled(sourcev1.URLInvalidReason, fmt.Errorf("invalid Helm repository URL: %w", err))
	case err != nil:
		return nil, fetchFailed(sourcev1.AuthenticationFailedReason, err)
	}
	if m.connection = (connection{}); ok {
		m.connection = connection{made, r}
	}
	p.req.Remember(m)
	return r, nil
}

// refOf and artifactOf translate between the status and the store.
func refOf(a *meta.Artifact) artifact.Ref {
	ref := artifact.Ref{
		Path: a.Path, URL: a.URL, Revision: a.Revision, Digest: artifact.Digest(a.Digest),
		LastUpdateTime: a.LastUpdateTime.Time.Time, Metadata: a.Metadata,
	}
	if a.Size != nil {
		ref.Size = *a.Size
	}
	return ref
}

func artifactOf(ref artifact.Ref) *meta.Artifact {
	return &meta.Artifact{
		Path: ref.Path, URL: ref.URL, Revision: ref.Revision, Digest: string(ref.Digest),
		LastUpdateTime: meta.NewTime(ref.LastUpdateTime), Size: &ref.Size, Metadata: ref.Metadata,
	}
}
