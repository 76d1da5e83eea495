package ocirepository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact/archive"
	"github.com/gitops-toolkit/flux/internal/artifact/unpack"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// shelf is where the artifacts of a repository stand.
func (c *controller) shelf(obj *sourcev1.OCIRepository) attempt.Shelf {
	return attempt.Shelf{Store: c.Artifacts, Kind: "ocirepository", Namespace: obj.Namespace, Name: obj.Name, Link: "latest.tar.gz"}
}

// take fetches the layer of the revision and stores it.
func (p *poll) take(ctx context.Context, repo *registry.Repository, revision registry.Revision, f *found) *attempt.Failure {
	limited, cancel := context.WithTimeout(ctx, p.obj.GetTimeout())
	defer cancel()
	manifest, err := repo.Manifest(limited, revision.Digest)
	if err != nil {
		return p.failed(sourcev1.OCIArtifactPullFailedReason, fmt.Sprintf("failed to pull artifact from '%s'", p.obj.Spec.URL), err)
	}
	selector := selectorOf(p.obj.Spec.LayerSelector)
	layer, err := manifest.Select(selector.MediaType)
	if err != nil {
		return attempt.Fetch(sourcev1.OCIArtifactLayerOperationFailedReason, explain(p.obj, err))
	}
	put := func(write func(io.Writer) error) error {
		return p.shelf(p.obj).Put(ctx, revision.Digest+".tar.gz", revision.String(), manifest.Annotations, &f.Found, write)
	}
	if selector.Operation == sourcev1.OCILayerCopy {
		return p.copyLayer(limited, repo, layer, put)
	}
	return p.extractLayer(ctx, limited, repo, layer, put)
}

// put stores what is written.
type put func(write func(io.Writer) error) error

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
func (p *poll) copyLayer(ctx context.Context, repo *registry.Repository, layer registry.Layer, put put) *attempt.Failure {
	err := put(func(w io.Writer) error {
		body, err := repo.Blob(ctx, layer)
		if err != nil {
			return sourceError{err}
		}
		_, err = io.Copy(w, sourceReader{body})
		return errors.Join(err, body.Close())
	})
	var source sourceError
	if errors.As(err, &source) {
		return p.failed(sourcev1.OCIArtifactLayerOperationFailedReason, "failed to copy the layer of the artifact", source.error)
	}
	return stored(err)
}

// extractLayer unpacks the layer aside, and archives its files, but for those that are to be ignored.
func (p *poll) extractLayer(ctx, limited context.Context, repo *registry.Repository, layer registry.Layer, put put) (fail *attempt.Failure) {
	dir, err := os.MkdirTemp(p.TempDir, "ocirepository-")
	if err != nil {
		return attempt.Storage(sourcev1.DirectoryCreationFailedReason, fmt.Errorf("failed to create a temporary directory: %w", err))
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil && fail == nil {
			p.req.Log.Error(err, "a temporary directory could not be removed", "directory", dir)
		}
	}()
	if err := p.unpack(limited, repo, layer, dir); err != nil {
		if errors.Is(err, unpack.ErrFormat) {
			err = fmt.Errorf("%w; the layer, which has the media type '%s', is no archive: choose another with spec.layerSelector.mediaType, "+
				"or set spec.layerSelector.operation to 'copy'", err, layer.MediaType)
		}
		return p.failed(sourcev1.OCIArtifactLayerOperationFailedReason, "failed to extract layer contents from artifact", err)
	}
	tree, err := archive.OpenDir(dir)
	if err != nil {
		return attempt.Storage(sourcev1.StatOperationFailedReason, err)
	}
	defer tree.Close() //nolint:errcheck // read only
	ignore := archive.Ignore{SourceIgnore: true, Defaults: true}
	if p.obj.Spec.Ignore != nil {
		ignore.Spec = *p.obj.Spec.Ignore
	}
	return stored(put(func(w io.Writer) error {
		_, err := p.Archives.Write(ctx, w, tree, ignore)
		return err
	}))
}

func stored(err error) *attempt.Failure {
	if err != nil {
		return attempt.Unstored(attempt.Archived, err)
	}
	return nil
}

func (p *poll) unpack(ctx context.Context, repo *registry.Repository, layer registry.Layer, dir string) (err error) {
	body, err := repo.Blob(ctx, layer)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	result, err := unpack.Layer(ctx, body, dir, unpack.Limits{})
	attempt.LeftOut(p.req.Log, result.Skipped)
	return err
}
