package helmrepository

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/charts/index"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// shelf is where the indexes of a repository stand.
func (c *controller) shelf(obj *sourcev1.HelmRepository) attempt.Shelf {
	return attempt.Shelf{Store: c.Artifacts, Kind: "helmrepository", Namespace: obj.Namespace, Name: obj.Name, Link: "index.yaml"}
}

// store converts the index and stores it.
func (p *poll) store(ctx context.Context, fetched *fetched, f *found) *attempt.Failure {
	var places *index.Places
	var content error
	err := p.shelf(p.obj).Put(ctx, "index-"+fetched.revision.Hex()+".yaml", f.revision, nil, &f.Found, func(w io.Writer) (err error) {
		places, f.summary, err = index.Convert(cancellable{fetched.file, ctx}, w, p.TempDir)
		if aboutContent(err) {
			content = err
		}
		return err
	})
	switch {
	case ctx.Err() != nil && err != nil:
		return attempt.Fetch(meta.FailedReason, context.Cause(ctx))
	case content != nil:
		return attempt.Fetch(sourcev1.IndexationFailedReason, fmt.Errorf("failed to load Helm repository from index YAML: %w", explainContent(p.obj, content)))
	case err != nil:
		return attempt.Unstored("unable to write Helm repository index to storage", err)
	}
	p.Indexes.Keep(f.Artifact.Digest, places)
	return nil
}

// aboutContent tells whether an error is about what the server has sent.
func aboutContent(err error) bool {
	for _, kind := range []error{index.ErrSyntax, index.ErrLimit, index.ErrNoAPIVersion, index.ErrEmpty} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// cancellable ends the reading of a file when the context ends.
type cancellable struct {
	io.ReadSeeker
	ctx context.Context
}

func (c cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.ReadSeeker.Read(p)
}
