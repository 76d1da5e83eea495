package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// emptyConfig is the configuration of every artifact. It says nothing, so that equal content gives equal digests
// whoever pushes it; the bytes are part of the format.
const emptyConfig = `{"architecture":"","created":"0001-01-01T00:00:00Z","os":"","rootfs":{"type":"layers","diff_ids":null},"config":{}}`

// Artifact is what Push makes.
type Artifact struct {
	// File is the path of the archive that becomes the only layer.
	File string
	// Annotations of the manifest.
	Annotations map[string]string
}

// Push uploads the artifact, gives it the tag, and returns the digest of its manifest.
func (r *Repository) Push(ctx context.Context, tag string, a Artifact) (digest string, err error) {
	ref, err := name.NewTag(r.Name()+":"+tag, r.nameOptions()...)
	if err != nil {
		return "", fmt.Errorf("tag '%s': %w", tag, err)
	}
	layer, err := newFileBlob(a.File, ContentMediaType)
	if err != nil {
		return "", fmt.Errorf("read the archive: %w", err)
	}
	config := newMemoryBlob([]byte(emptyConfig), ConfigMediaType)
	raw, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: config.descriptor(), Layers: []v1.Descriptor{layer.descriptor()}, Annotations: a.Annotations,
	})
	if err != nil {
		return "", err
	}
	pusher, err := remote.NewPusher(r.options()...)
	if err != nil {
		return "", err
	}
	for _, b := range []*blob{layer, config} {
		if err := pusher.Upload(ctx, r.name, b); err != nil {
			return "", r.clean(err)
		}
	}
	if err := pusher.Put(ctx, ref, manifestBytes(raw)); err != nil {
		return "", r.clean(err)
	}
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// Tag gives what identifier (a tag or a digest) names another tag.
func (r *Repository) Tag(ctx context.Context, identifier, tag string) error {
	from, err := r.reference(identifier)
	if err != nil {
		return err
	}
	to, err := name.NewTag(r.Name()+":"+tag, r.nameOptions()...)
	if err != nil {
		return fmt.Errorf("tag '%s': %w", tag, err)
	}
	desc, err := r.puller.Get(ctx, from)
	if err != nil {
		return r.clean(err)
	}
	pusher, err := remote.NewPusher(r.options()...)
	if err != nil {
		return err
	}
	return r.clean(pusher.Put(ctx, to, desc))
}

// Describe returns the digest of what identifier names, and the annotations of its manifest or index.
func (r *Repository) Describe(ctx context.Context, identifier string) (digest string, annotations map[string]string, err error) {
	ref, err := r.reference(identifier)
	if err != nil {
		return "", nil, err
	}
	desc, err := r.puller.Get(ctx, ref)
	if err != nil {
		return "", nil, r.clean(err)
	}
	var parsed struct {
		Annotations map[string]string `json:"annotations"`
	}
	if err := json.Unmarshal(desc.Manifest, &parsed); err != nil {
		return "", nil, fmt.Errorf("manifest '%s' cannot be parsed: %w", desc.Digest, err)
	}
	return desc.Digest.String(), parsed.Annotations, nil
}

// reference reads a tag or a digest.
func (r *Repository) reference(identifier string) (name.Reference, error) {
	if CheckDigest(identifier) == nil {
		return r.name.Digest(identifier), nil
	}
	ref, err := name.NewTag(r.Name()+":"+identifier, r.nameOptions()...)
	if err != nil {
		return nil, fmt.Errorf("tag '%s': %w", identifier, err)
	}
	return ref, nil
}

// manifestBytes is a manifest as it is put.
type manifestBytes []byte

// RawManifest returns the bytes.
func (m manifestBytes) RawManifest() ([]byte, error) { return m, nil }

// MediaType is that of image manifests.
func (m manifestBytes) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// blob is something to upload, as the library wants it.
type blob struct {
	open      func() (io.ReadCloser, error)
	mediaType types.MediaType
	digest    v1.Hash
	size      int64
}

func newMemoryBlob(data []byte, mediaType types.MediaType) *blob {
	sum := sha256.Sum256(data)
	return &blob{
		open:      func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil },
		mediaType: mediaType, digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}, size: int64(len(data)),
	}
}

func newFileBlob(path string, mediaType types.MediaType) (_ *blob, err error) {
	digest, size, err := DigestFile(path)
	if err != nil {
		return nil, err
	}
	hash, err := v1.NewHash(digest)
	return &blob{open: func() (io.ReadCloser, error) { return os.Open(path) }, mediaType: mediaType, digest: hash, size: size}, err
}

// DigestFile returns the digest that a file has as a layer, and its size in bytes.
func DigestFile(path string) (digest string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), size, err
}

func (b *blob) descriptor() v1.Descriptor {
	return v1.Descriptor{MediaType: b.mediaType, Size: b.size, Digest: b.digest}
}

// Digest of the content.
func (b *blob) Digest() (v1.Hash, error) { return b.digest, nil }

// DiffID is not part of the format; the library asks for it nowhere on the way up.
func (b *blob) DiffID() (v1.Hash, error) { return b.digest, nil }

// Compressed returns the content as it is stored.
func (b *blob) Compressed() (io.ReadCloser, error) { return b.open() }

// Uncompressed returns the same: what is inside is nobody's business here.
func (b *blob) Uncompressed() (io.ReadCloser, error) { return b.open() }

// Size of the content in bytes.
func (b *blob) Size() (int64, error) { return b.size, nil }

// MediaType of the content.
func (b *blob) MediaType() (types.MediaType, error) { return b.mediaType, nil }
