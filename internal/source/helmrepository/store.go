package helmrepository

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/charts/index"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

const (
	// storeKind is the first part of an artifact's path.
	storeKind = "helmrepository"
	// linkFile is the name beside the artifacts that leads to the one advertised.
	linkFile = "index.yaml"
)

// store converts the index and stores it.
func (p *poll) store(ctx context.Context, fetched *fetched, f *found) *failure {
	name := store.Name{Kind: storeKind, Namespace: p.obj.Namespace, Name: p.obj.Name, File: "index-" + fetched.revision.Hex() + ".yaml"}
	var places *index.Places
	var content error
	ref, err := p.Artifacts.Put(ctx, name, f.revision, nil, func(w io.Writer) (err error) {
		places, f.summary, err = index.Convert(cancellable{fetched.file, ctx}, w, p.TempDir)
		if aboutContent(err) {
			content = err
		}
		return err
	})
	switch {
	case ctx.Err() != nil && err != nil:
		return fetchFailed(meta.FailedReason, context.Cause(ctx))
	case content != nil:
		return fetchFailed(sourcev1.IndexationFailedReason, fmt.Errorf("failed to load Helm repository from index YAML: %w", explainContent(p.obj, content)))
	case errors.Is(err, store.ErrDirectory):
		return storageFailed(sourcev1.DirectoryCreationFailedReason, err)
	case err != nil:
		return storageFailed(sourcev1.ArchiveOperationFailedReason, fmt.Errorf("unable to write Helm repository index to storage: %w; check the free space and the permissions of the controller's storage", err))
	}
	p.Indexes.Keep(string(ref.Digest), places)
	f.artifact, f.stored = artifactOf(ref), true
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

// offer makes the stable address lead to the artifact and removes artifacts that were superseded. Only the first can fail
// the poll.
func (p *poll) offer(ctx context.Context, f *found) *failure {
	url, err := p.Artifacts.Link(refOf(f.artifact), linkFile)
	if err != nil {
		return storageFailed(sourcev1.SymlinkUpdateFailedReason, fmt.Errorf("failed to update status URL symlink: %w", err))
	}
	f.url = url
	removed, err := p.Artifacts.Collect(ctx, refOf(f.artifact))
	if err != nil {
		p.req.Event(kernel.Warning(sourcev1.GarbageCollectionFailedReason, fmt.Sprintf("garbage collection failed: %s", err), nil))
	}
	if n := len(removed); n > 0 {
		p.req.Event(kernel.Trace("GarbageCollectionSucceeded", fmt.Sprintf("garbage collected %d artifacts", n), nil))
	}
	return nil
}
