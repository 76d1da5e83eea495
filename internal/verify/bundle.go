package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/gitops-toolkit/flux/internal/registry"
)

const (
	// bundleType begins the media types of Sigstore bundles.
	bundleType = "application/vnd.dev.sigstore.bundle"
	// emptyType is the artifact type that registries show which tell that of the configuration instead.
	emptyType = "application/vnd.oci.empty.v1+json"
	// bundleVersion is the oldest that is kept in registries.
	bundleVersion = "v0.3"
)

type logEntry = tlog.Entry

var noTime time.Time

// manifest is what signatures need of one.
type manifest struct {
	Layers []layer `json:"layers"`
}

type layer struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations"`
}

func (l layer) read(ctx context.Context, repo *registry.Repository) ([]byte, error) {
	return repo.Small(ctx, registry.Layer{MediaType: l.MediaType, Digest: l.Digest, Size: l.Size}, maxSignature)
}

func readManifest(ctx context.Context, repo *registry.Repository, identifier string) (m manifest, err error) {
	_, data, err := repo.Raw(ctx, identifier)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("manifest '%s' cannot be parsed: %w", identifier, err)
	}
	return m, nil
}

// bundles finds the Sigstore bundles that refer to the artifact.
func bundles(ctx context.Context, repo *registry.Repository, digest string) (found []*candidate, err error) {
	referrers, err := repo.Referrers(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("list the signatures of '%s': %w", digest, err)
	}
	want, err := artifactDigest(digest)
	if err != nil {
		return nil, err
	}
	for _, r := range referrers {
		if r.ArtifactType != "" && r.ArtifactType != emptyType && !strings.HasPrefix(r.ArtifactType, bundleType) {
			continue // Not ours: an SBOM, a signature of notation.
		}
		if len(found) == maxSignatures {
			return nil, fmt.Errorf("%w: '%s' has more than %d signatures", registry.ErrLimit, digest, maxSignatures)
		}
		c, err := bundleOf(ctx, repo, r.Digest)
		if err != nil {
			return nil, err
		}
		if c != nil {
			c.artifact = func() verify.ArtifactPolicyOption { return want }
			found = append(found, c)
		}
	}
	return found, nil
}

// bundleOf reads the bundle in the manifest, nil if it holds something else.
func bundleOf(ctx context.Context, repo *registry.Repository, digest string) (*candidate, error) {
	m, err := readManifest(ctx, repo, digest)
	if errors.Is(err, registry.ErrNotFound) {
		return nil, nil // The list is older than a deletion.
	}
	if err != nil {
		return nil, err
	}
	if len(m.Layers) != 1 || !strings.HasPrefix(m.Layers[0].MediaType, bundleType) {
		return nil, nil
	}
	data, err := m.Layers[0].read(ctx, repo)
	if err != nil {
		return nil, err
	}
	return &candidate{
		where: "bundle " + digest,
		bundle: func(context.Context, root.TrustedMaterial) (*bundle.Bundle, error) {
			b := &bundle.Bundle{}
			if err := b.UnmarshalJSON(data); err != nil {
				return nil, fmt.Errorf("the bundle cannot be parsed: %w", err)
			}
			if !b.MinVersion(bundleVersion) {
				return nil, fmt.Errorf("the bundle is older than version %s", bundleVersion)
			}
			return b, nil
		},
	}, nil
}
