package registry

import (
	"context"
	"fmt"
	"io"

	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Referrer is a manifest that says of itself that it belongs to another one, such as a signature.
type Referrer struct {
	// MediaType of the manifest, its Digest, and its Size in bytes.
	MediaType, Digest string
	Size              int64
	// ArtifactType says what the manifest is; some registries do not tell.
	ArtifactType string
}

// Referrers lists the manifests that belong to the one with this digest, in the order of the registry. Registries that
// do not know the question are asked for the tag that stands in for it.
func (r *Repository) Referrers(ctx context.Context, digest string) ([]Referrer, error) {
	if err := CheckDigest(digest); err != nil {
		return nil, err
	}
	index, err := remote.Referrers(r.name.Digest(digest), remote.Reuse(r.puller), remote.WithContext(ctx))
	if err != nil {
		return nil, r.clean(err)
	}
	parsed, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("the list of referrers of '%s' cannot be parsed: %w", digest, err)
	}
	list := make([]Referrer, 0, len(parsed.Manifests))
	for _, m := range parsed.Manifests {
		list = append(list, Referrer{string(m.MediaType), m.Digest.String(), m.Size, m.ArtifactType})
	}
	return list, nil
}

// Raw returns the manifest or index that identifier, a tag or a digest, names: its media type and its bytes. What a
// digest names has been held against it.
func (r *Repository) Raw(ctx context.Context, identifier string) (mediaType string, data []byte, err error) {
	ref, err := r.reference(identifier)
	if err != nil {
		return "", nil, err
	}
	desc, err := r.puller.Get(ctx, ref)
	if err != nil {
		return "", nil, r.clean(err)
	}
	return string(desc.MediaType), desc.Manifest, nil
}

// Small reads a layer of at most limit bytes into memory.
func (r *Repository) Small(ctx context.Context, l Layer, limit int64) (data []byte, err error) {
	if l.Size > limit {
		return nil, fmt.Errorf("%w: layer '%s' has %d bytes, %d are allowed", ErrLimit, l.Digest, l.Size, limit)
	}
	body, err := r.Blob(ctx, l)
	if err != nil {
		return nil, err
	}
	defer body.Close() //nolint:errcheck // read to its end
	return io.ReadAll(body)
}
