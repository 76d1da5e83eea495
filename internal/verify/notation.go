package verify

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/notaryproject/notation-go"
	notationregistry "github.com/notaryproject/notation-go/registry"
	"github.com/notaryproject/notation-go/verifier"
	"github.com/notaryproject/notation-go/verifier/trustpolicy"
	"github.com/notaryproject/notation-go/verifier/truststore"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/gitops-toolkit/flux/internal/registry"
)

// KeyTrustPolicy is the entry of a Secret that holds a trust policy of notation.
const KeyTrustPolicy = "trustpolicy.json"

type notary struct{ verifier notation.Verifier }

// Notation trusts the certificates of a Secret, the entries *.crt and *.pem, as its trustpolicy.json says. The name of the
// Secret is for messages.
func Notation(secret string, data map[string][]byte) (Verifier, error) {
	policy, err := trustPolicy(secret, data)
	if err != nil {
		return nil, err
	}
	var trusted certificates
	for _, name := range slices.Sorted(maps.Keys(data)) {
		if !strings.HasSuffix(name, ".crt") && !strings.HasSuffix(name, ".pem") {
			continue
		}
		list, err := cryptoutils.UnmarshalCertificatesFromPEM(data[name])
		if err == nil && len(list) == 0 {
			err = errors.New("there is none")
		}
		if err != nil {
			return nil, fmt.Errorf("%w: '%s' of the Secret '%s' does not hold certificates in PEM: %w", ErrTrust, name, secret, err)
		}
		trusted = append(trusted, list...)
	}
	if len(trusted) == 0 && !skipsAll(policy) {
		return nil, fmt.Errorf("%w: the Secret '%s' has no certificate: its name must end in '.crt' or '.pem'", ErrTrust, secret)
	}
	v, err := verifier.New(policy, trusted, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: '%s' of the Secret '%s': %w", ErrTrust, KeyTrustPolicy, secret, err)
	}
	return notary{v}, nil
}

func trustPolicy(secret string, data map[string][]byte) (*trustpolicy.Document, error) {
	text, ok := data[KeyTrustPolicy]
	if !ok {
		return nil, fmt.Errorf("%w: the Secret '%s' has no '%s'", ErrTrust, secret, KeyTrustPolicy)
	}
	policy := &trustpolicy.Document{}
	if err := json.Unmarshal(text, policy); err != nil {
		return nil, fmt.Errorf("%w: '%s' of the Secret '%s' cannot be parsed: %w", ErrTrust, KeyTrustPolicy, secret, err)
	}
	// A statement that skips verification needs no trust; the library refuses one that names some.
	for i := range policy.TrustPolicies {
		if p := &policy.TrustPolicies[i]; p.SignatureVerification.VerificationLevel == trustpolicy.LevelSkip.Name {
			p.TrustStores, p.TrustedIdentities = nil, nil
		}
	}
	return policy, nil
}

func skipsAll(policy *trustpolicy.Document) bool {
	return !slices.ContainsFunc(policy.TrustPolicies, func(p trustpolicy.TrustPolicy) bool {
		return p.SignatureVerification.VerificationLevel != trustpolicy.LevelSkip.Name
	})
}

// certificates are every trust store: a Secret has no folders.
type certificates []*x509.Certificate

// GetCertificates returns them all, whatever store the policy names.
func (c certificates) GetCertificates(context.Context, truststore.Type, string) ([]*x509.Certificate, error) {
	return c, nil
}

// Name of the method.
func (notary) Name() string { return "notation" }

// Verify looks at the signatures of notation.
func (n notary) Verify(ctx context.Context, repo *registry.Repository, digest string) (Result, error) {
	signed := &signatures{repo: repo}
	_, outcomes, err := notation.Verify(ctx, n.verifier, signed, notation.VerifyOptions{
		ArtifactReference: repo.Name() + "@" + digest, MaxSignatureAttempts: maxSignatures,
	})
	switch {
	case signed.err != nil: // The library knows only the text of it.
		return 0, signed.err
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case err != nil && signed.found == 0 && signed.listed:
		return 0, unsigned(repo, digest, nil)
	case err != nil:
		return 0, unsigned(repo, digest, []error{err})
	}
	for _, o := range outcomes {
		if o.VerificationLevel.Name == trustpolicy.LevelSkip.Name || slices.ContainsFunc(o.VerificationResults, unauthentic) {
			return Ignored, nil
		}
	}
	return Verified, nil
}

// unauthentic tells whether a signer is not trusted, which only a lenient policy lets pass.
func unauthentic(r *notation.ValidationResult) bool {
	return r.Type == trustpolicy.TypeAuthenticity && r.Error != nil
}

// signatures shows a repository to the library.
type signatures struct {
	repo   *registry.Repository
	listed bool
	found  int
	err    error // that the registry gave, if any
}

var errReadOnly = errors.New("signatures are only read")

// Resolve describes the artifact.
func (s *signatures) Resolve(ctx context.Context, reference string) (ocispec.Descriptor, error) {
	mediaType, data, err := s.repo.Raw(ctx, reference)
	if err != nil {
		s.err = fmt.Errorf("read the manifest '%s': %w", reference, err)
		return ocispec.Descriptor{}, s.err
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.Digest(reference), Size: int64(len(data))}, nil
}

// ListSignatures calls f with the manifests of the signatures.
func (s *signatures) ListSignatures(ctx context.Context, desc ocispec.Descriptor, f func([]ocispec.Descriptor) error) error {
	referrers, err := s.repo.Referrers(ctx, desc.Digest.String())
	if err != nil {
		s.err = fmt.Errorf("list the signatures of '%s': %w", desc.Digest, err)
		return s.err
	}
	s.listed = true
	var list []ocispec.Descriptor
	for _, r := range referrers {
		if r.ArtifactType == notationregistry.ArtifactTypeNotation {
			list = append(list, ocispec.Descriptor{MediaType: r.MediaType, Digest: digest.Digest(r.Digest), Size: r.Size})
		}
	}
	s.found = len(list)
	return f(list)
}

// FetchSignatureBlob returns the signature that a manifest holds.
func (s *signatures) FetchSignatureBlob(ctx context.Context, desc ocispec.Descriptor) ([]byte, ocispec.Descriptor, error) {
	m, err := readManifest(ctx, s.repo, desc.Digest.String())
	if err != nil {
		s.err = err
		return nil, ocispec.Descriptor{}, err
	}
	if len(m.Layers) != 1 {
		return nil, ocispec.Descriptor{}, fmt.Errorf("the manifest '%s' of a signature has %d layers, not one", desc.Digest, len(m.Layers))
	}
	l := m.Layers[0]
	data, err := l.read(ctx, s.repo)
	if err != nil {
		s.err = err
		return nil, ocispec.Descriptor{}, err
	}
	return data, ocispec.Descriptor{MediaType: l.MediaType, Digest: digest.Digest(l.Digest), Size: l.Size}, nil
}

// PushSignature is not for us.
func (s *signatures) PushSignature(context.Context, string, []byte, ocispec.Descriptor, map[string]string) (_, _ ocispec.Descriptor, err error) {
	return ocispec.Descriptor{}, ocispec.Descriptor{}, errReadOnly
}
