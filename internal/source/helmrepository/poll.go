package helmrepository

import (
	"context"
	"errors"
	"fmt"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/charts/index"
	"github.com/gitops-toolkit/flux/internal/charts/repo"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
	"github.com/gitops-toolkit/flux/internal/source/helmaccess"
)

// poll is one look at the repository, with what follows from it. It is a background job.
type poll struct {
	*controller
	req *request
	obj *sourcev1.HelmRepository
}

// found is what a poll came to; it is filled as far as the poll got.
type found struct {
	attempt.Found
	// revision of the index, "" if that is not known.
	revision string
	// summary is what is in the artifact, if this poll made it.
	summary index.Summary
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
	outdated := p.obj.Status.Artifact == nil || p.obj.Status.Artifact.Revision != f.revision
	if outdated {
		f.Outdate(p.req, sourcev1.NewRevisionReason, fmt.Sprintf("new index revision '%s'", f.revision))
	}
	if fetched.file != nil && (f.Artifact == nil || outdated) {
		if fail := p.store(ctx, fetched, f); fail != nil {
			return fail
		}
	}
	p.note(fetched, f.revision)
	return p.shelf(p.obj).Offer(ctx, p.req, &f.Found)
}

// connection is a repository that was opened with Secrets of these versions.
type connection struct {
	versions   string
	repository *repo.Repository
}

// repository opens the repository, or takes the one of the last time if nothing that it is made of has changed.
func (p *poll) repository(ctx context.Context) (*repo.Repository, *attempt.Failure) {
	made, ok := helmaccess.Versions(p.cluster, p.obj)
	m := p.memory()
	if ok && m.connection.versions == made {
		return m.connection.repository, nil
	}
	r, err := helmaccess.HTTP(ctx, p.cluster, p.req.Log, p.obj, p.Connections)
	switch {
	case errors.Is(err, repo.ErrURL):
		return nil, attempt.Stall(sourcev1.URLInvalidReason, fmt.Errorf("invalid Helm repository URL: %w", err))
	case err != nil:
		return nil, attempt.Fetch(sourcev1.AuthenticationFailedReason, err)
	}
	if m.connection = (connection{}); ok {
		m.connection = connection{made, r}
	}
	p.req.Remember(m)
	return r, nil
}
