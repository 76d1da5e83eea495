package registry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Manifest describes an artifact.
type Manifest struct {
	// Digest of the manifest itself; where it was found in an index, not that of the index.
	Digest string
	// Config is the media type of the configuration, which says what kind of artifact it is.
	Config string
	// Annotations of the manifest.
	Annotations map[string]string
	// Layers in their order.
	Layers []Layer
}

// Layer is one blob of an artifact.
type Layer struct {
	MediaType string
	// Digest and Size in bytes of the blob as it is stored.
	Digest string
	Size   int64
}

// The platform whose image is taken of an index.
const (
	indexOS   = "linux"
	indexArch = "amd64"
)

// Manifest reads the manifest with this digest. Of an index, the image for linux/amd64 is read.
func (r *Repository) Manifest(ctx context.Context, digest string) (*Manifest, error) {
	if err := CheckDigest(digest); err != nil {
		return nil, err
	}
	desc, err := r.puller.Get(ctx, r.name.Digest(digest))
	if err != nil {
		return nil, r.clean(err)
	}
	if !desc.MediaType.IsIndex() {
		return r.parse(desc.Manifest, desc.MediaType, digest)
	}
	child, err := childOf(desc.Manifest)
	if err != nil {
		return nil, fmt.Errorf("index '%s': %w", digest, err)
	}
	desc, err = r.puller.Get(ctx, r.name.Digest(child))
	if err != nil {
		return nil, r.clean(err)
	}
	return r.parse(desc.Manifest, desc.MediaType, child)
}

func childOf(index []byte) (string, error) {
	parsed, err := v1.ParseIndexManifest(bytes.NewReader(index))
	if err != nil {
		return "", fmt.Errorf("cannot be parsed: %w", err)
	}
	for _, m := range parsed.Manifests {
		// A child without a platform is what it is for an old client: an image for this one.
		if p := m.Platform; (p == nil || p.OS == indexOS && p.Architecture == indexArch) && m.Digest.Algorithm == "sha256" {
			return m.Digest.String(), nil
		}
	}
	return "", fmt.Errorf("no child with platform %s/%s in it", indexOS, indexArch)
}

// parse accepts what looks like the manifest of an image; registries are not strict about its type.
func (r *Repository) parse(data []byte, mediaType types.MediaType, digest string) (*Manifest, error) {
	if mediaType.IsIndex() || mediaType.IsSchema1() {
		return nil, fmt.Errorf("manifest '%s' is of the type '%s', which is not supported", digest, mediaType)
	}
	parsed, err := v1.ParseManifest(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("manifest '%s' cannot be parsed: %w", digest, err)
	}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(parsed.Annotations)) {
		if size += len(name) + len(parsed.Annotations[name]); size > r.pool.opts.Limits.Annotations {
			return nil, fmt.Errorf("%w: manifest '%s' has more than %d bytes of annotations", ErrLimit, digest, r.pool.opts.Limits.Annotations)
		}
	}
	m := &Manifest{Digest: digest, Config: string(parsed.Config.MediaType), Annotations: parsed.Annotations}
	for _, l := range parsed.Layers {
		m.Layers = append(m.Layers, Layer{MediaType: string(l.MediaType), Digest: l.Digest.String(), Size: l.Size})
	}
	return m, nil
}

// noLayer is an ErrNoLayer with a text of its own.
type noLayer string

func (e noLayer) Error() string        { return string(e) }
func (e noLayer) Is(target error) bool { return target == ErrNoLayer }

// Select returns the first layer with the media type, or the first of all when it is empty. Errors are ErrNoLayer.
func (m *Manifest) Select(mediaType string) (Layer, error) {
	if len(m.Layers) == 0 {
		return Layer{}, noLayer("no layers found in artifact")
	}
	if mediaType == "" {
		return m.Layers[0], nil
	}
	for _, l := range m.Layers {
		if l.MediaType == mediaType {
			return l, nil
		}
	}
	return Layer{}, noLayer(fmt.Sprintf("failed to find layer with media type '%s' in artifact", mediaType))
}

// Blob reads a layer. The reader fails at the end if the content is not what the digest says, so what was read is to
// be used only after the end was reached.
func (r *Repository) Blob(ctx context.Context, l Layer) (io.ReadCloser, error) {
	if l.Size < 0 || l.Size > r.pool.opts.Limits.Layer {
		return nil, fmt.Errorf("%w: layer '%s' is said to have %d bytes, %d are allowed", ErrLimit, l.Digest, l.Size, r.pool.opts.Limits.Layer)
	}
	if err := CheckDigest(l.Digest); err != nil {
		return nil, err
	}
	blob, err := r.puller.Layer(ctx, r.name.Digest(l.Digest))
	if err != nil {
		return nil, r.clean(err)
	}
	body, err := blob.Compressed()
	if err != nil {
		return nil, r.clean(err)
	}
	return &blobReader{repo: r, layer: l, body: body}, nil
}

// blobReader holds a layer against the size in the manifest, and words its errors.
type blobReader struct {
	repo  *Repository
	layer Layer
	body  io.ReadCloser
	n     int64
}

func (b *blobReader) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.n += int64(n)
	switch {
	case b.n > b.layer.Size, err == io.EOF && b.n < b.layer.Size:
		return 0, fmt.Errorf("layer '%s' has another size than the %d bytes that the manifest says", b.layer.Digest, b.layer.Size)
	case err != nil && err != io.EOF:
		return n, fmt.Errorf("layer '%s': %w", b.layer.Digest, b.repo.clean(err))
	}
	return n, err
}

func (b *blobReader) Close() error { return b.body.Close() }
