package ocirepository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/store"
	"github.com/gitops-toolkit/flux/internal/artifact/unpack"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry"
)

const (
	// storeKind is the first part of an artifact's path.
	storeKind = "ocirepository"
	// latestFile is the name beside the artifacts that leads to the one advertised.
	latestFile = "latest.tar.gz"
)

// take fetches the layer of the revision and stores it.
func (p *poll) take(ctx context.Context, repo *registry.Repository, revision registry.Revision, f *found) *failure {
	limited, cancel := context.WithTimeout(ctx, p.obj.GetTimeout())
	defer cancel()
	manifest, err := repo.Manifest(limited, revision.Digest)
	if err != nil {
		return p.failed(sourcev1.OCIArtifactPullFailedReason, fmt.Sprintf("failed to pull artifact from '%s'", p.obj.Spec.URL), err)
	}
	selector := selectorOf(p.obj.Spec.LayerSelector)
	layer, err := manifest.Select(selector.MediaType)
	if err != nil {
		return fetchFailed(sourcev1.OCIArtifactLayerOperationFailedReason, explain(p.obj, err))
	}
	name := store.Name{Kind: storeKind, Namespace: p.obj.Namespace, Name: p.obj.Name, File: revision.Digest + ".tar.gz"}
	var ref artifact.Ref
	var fail *failure
	if selector.Operation == sourcev1.OCILayerCopy {
		ref, fail = p.copyLayer(limited, repo, layer, name, revision, manifest.Annotations)
	} else {
		ref, fail = p.extractLayer(ctx, limited, repo, layer, name, revision, manifest.Annotations)
	}
	if fail != nil {
		return fail
	}
	f.artifact, f.stored = artifactOf(ref), true
	return nil
}

// sourceError tells what went wrong on the way in from what went wrong on the way out.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }

// sourceReader marks the errors of a layer.
type sourceReader struct{ io.Reader }

func (r sourceReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = sourceError{err}
	}
	return n, err
}

// copyLayer stores the bytes of the layer as they are.
func (p *poll) copyLayer(ctx context.Context, repo *registry.Repository, layer registry.Layer, name store.Name, revision registry.Revision, metadata map[string]string) (artifact.Ref, *failure) {
	ref, err := p.Artifacts.Put(ctx, name, revision.String(), metadata, func(w io.Writer) error {
		body, err := repo.Blob(ctx, layer)
		if err != nil {
			return sourceError{err}
		}
		_, err = io.Copy(w, sourceReader{body})
		return errors.Join(err, body.Close())
	})
	var source sourceError
	if errors.As(err, &source) {
		return ref, p.failed(sourcev1.OCIArtifactLayerOperationFailedReason, "failed to copy the layer of the artifact", source.error)
	}
	return ref, storeFailed(err)
}

// extractLayer unpacks the layer aside, and archives its files, but for those that are to be ignored.
func (p *poll) extractLayer(ctx, limited context.Context, repo *registry.Repository, layer registry.Layer, name store.Name, revision registry.Revision, metadata map[string]string) (_ artifact.Ref, fail *failure) {
	dir, err := os.MkdirTemp(p.TempDir, "ocirepository-")
	if err != nil {
		return artifact.Ref{}, storageFailed(sourcev1.DirectoryCreationFailedReason, fmt.Errorf("failed to create a temporary directory: %w", err))
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil && fail == nil {
			p.req.Log.Error(err, "a temporary directory could not be removed", "directory", dir)
		}
	}()
	if err := unpackLayer(limited, repo, layer, dir); err != nil {
		return artifact.Ref{}, p.failed(sourcev1.OCIArtifactLayerOperationFailedReason, "failed to extract layer contents from artifact", err)
	}
	tree, err := archive.OpenDir(dir)
	if err != nil {
		return artifact.Ref{}, storageFailed(sourcev1.StatOperationFailedReason, err)
	}
	defer tree.Close() //nolint:errcheck // read only
	ignore := archive.Ignore{SourceIgnore: true, Defaults: true}
	if p.obj.Spec.Ignore != nil {
		ignore.Spec = *p.obj.Spec.Ignore
	}
	ref, err := p.Artifacts.Put(ctx, name, revision.String(), metadata, func(w io.Writer) error {
		_, err := p.Archives.Write(ctx, w, tree, ignore)
		return err
	})
	return ref, storeFailed(err)
}

func unpackLayer(ctx context.Context, repo *registry.Repository, layer registry.Layer, dir string) (err error) {
	body, err := repo.Blob(ctx, layer)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	_, err = unpack.Layer(ctx, body, dir, unpack.Limits{})
	return err
}

func storeFailed(err error) *failure {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrDirectory):
		return storageFailed(sourcev1.DirectoryCreationFailedReason, err)
	}
	return storageFailed(sourcev1.ArchiveOperationFailedReason, fmt.Errorf("unable to archive artifact to storage: %w", explainArchive(err)))
}

// offer makes the stable address lead to the artifact and removes artifacts that were superseded. Only the first can
// fail the poll.
func (p *poll) offer(ctx context.Context, f *found) *failure {
	url, err := p.Artifacts.Link(refOf(f.artifact), latestFile)
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
