package verify

import (
	"bytes"
	"context"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/gitops-toolkit/flux/internal/registry"
)

// keySuffix ends the names of public keys in a Secret.
const keySuffix = ".pub"

// Identity is a signer that is trusted: regular expressions, unanchored, for the issuer of the certificate's identity and
// for its subject. An empty one matches all.
type Identity struct{ Issuer, Subject string }

// candidate is a signature that was found.
type candidate struct {
	// where it is, for messages.
	where string
	// bundle and artifact are what sigstore-go verifies: the signature, and what it must be of.
	bundle   func(ctx context.Context, material root.TrustedMaterial) (*bundle.Bundle, error)
	artifact func() verify.ArtifactPolicyOption
	// payload and signature of the old format, which a key verifies without a bundle.
	payload, signature []byte
}

// judge decides about one signature.
type judge interface {
	judge(ctx context.Context, c *candidate) error
}

// cosign verifies the signatures of cosign.
type cosign struct {
	name string
	judge
}

// Name of the method.
func (c cosign) Name() string { return c.name }

// Verify looks at bundles first, then at signatures in the old format.
func (c cosign) Verify(ctx context.Context, repo *registry.Repository, digest string) (Result, error) {
	var causes []error
	for _, find := range []func(context.Context, *registry.Repository, string) ([]*candidate, error){bundles, legacy} {
		found, err := find(ctx, repo, digest)
		if err != nil {
			return 0, err
		}
		for _, candidate := range found {
			err := c.judge.judge(ctx, candidate)
			if err == nil {
				return Verified, nil
			}
			if ctx.Err() != nil {
				return 0, context.Cause(ctx)
			}
			causes = append(causes, fmt.Errorf("%s: %w", candidate.where, err))
		}
	}
	return 0, unsigned(repo, digest, causes)
}

// keys are public keys by their names.
type keys map[string]signature.Verifier

// Keys trusts the public keys of a Secret: the entries whose names end in .pub. The name of the Secret is for messages.
func Keys(secret string, data map[string][]byte) (Verifier, error) {
	trusted := keys{}
	for name, text := range data {
		if !strings.HasSuffix(name, keySuffix) {
			continue
		}
		key, err := cryptoutils.UnmarshalPEMToPublicKey(bytes.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("%w: '%s' of the Secret '%s' is not a public key in PEM: %w", ErrTrust, name, secret, err)
		}
		if trusted[name], err = signature.LoadVerifier(key, crypto.SHA256); err != nil {
			return nil, fmt.Errorf("%w: '%s' of the Secret '%s': %w", ErrTrust, name, secret, err)
		}
	}
	if len(trusted) == 0 {
		return nil, fmt.Errorf("%w: the Secret '%s' has no public key: its name must end in '%s'", ErrTrust, secret, keySuffix)
	}
	return cosign{"cosign", trusted}, nil
}

func (k keys) judge(ctx context.Context, c *candidate) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(k)) {
		err := k.by(ctx, c, k[name])
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("by '%s': %w", name, err))
	}
	return errors.Join(errs...)
}

func (k keys) by(ctx context.Context, c *candidate, key signature.Verifier) error {
	if c.payload != nil {
		return key.VerifySignature(bytes.NewReader(c.signature), bytes.NewReader(c.payload))
	}
	material := keyMaterial{&root.BaseTrustedMaterial{}, root.NewExpiringKey(key, noTime, noTime)}
	b, err := c.bundle(ctx, material)
	if err != nil {
		return err
	}
	return decide(b, material, verify.NewPolicy(c.artifact(), verify.WithKey()), verify.WithNoObserverTimestamps())
}

// keyMaterial trusts one key, whatever a bundle calls it, and nothing else.
type keyMaterial struct {
	*root.BaseTrustedMaterial
	key *root.ExpiringKey
}

// PublicKeyVerifier returns the key.
func (m keyMaterial) PublicKeyVerifier(string) (root.TimeConstrainedVerifier, error) {
	return m.key, nil
}

// keyless trusts identities.
type keyless struct {
	source   Root
	policies []verify.PolicyOption
}

// Root is where the authorities and logs come from that vouch for identities.
type Root interface {
	Material(ctx context.Context) (root.TrustedMaterial, error)
}

// Keyless trusts the identities, any if there are none, that the authorities of the root vouch for.
func Keyless(ids []Identity, source Root) (Verifier, error) {
	k := keyless{source: source}
	for i, id := range ids {
		san, err := verify.NewSANMatcher("", anything(id.Subject))
		if err != nil {
			return nil, fmt.Errorf("%w: matchOIDCIdentity[%d].subject: %w", ErrTrust, i, err)
		}
		issuer, err := verify.NewIssuerMatcher("", anything(id.Issuer))
		if err != nil {
			return nil, fmt.Errorf("%w: matchOIDCIdentity[%d].issuer: %w", ErrTrust, i, err)
		}
		k.policies = append(k.policies, verify.WithCertificateIdentity(verify.CertificateIdentity{SubjectAlternativeName: san, Issuer: issuer}))
	}
	if len(ids) == 0 {
		k.policies = append(k.policies, verify.WithoutIdentitiesUnsafe())
	}
	return cosign{"cosign keyless", k}, nil
}

// anything is the expression that an absent one means.
func anything(expression string) string {
	if expression == "" {
		return ".*"
	}
	return expression
}

func (k keyless) judge(ctx context.Context, c *candidate) error {
	material, err := k.source.Material(ctx)
	if err != nil {
		return err
	}
	b, err := c.bundle(ctx, material)
	if err != nil {
		return err
	}
	entries, err := b.TlogEntries()
	if err != nil {
		return err
	}
	options := []verify.VerifierOption{verify.WithTransparencyLog(1)}
	// A log of the second generation tells no time; a timestamp authority has to.
	if slices.ContainsFunc(entries, func(e *logEntry) bool { return !e.IntegratedTime().IsZero() }) || len(entries) == 0 {
		options = append(options, verify.WithIntegratedTimestamps(1))
	} else {
		options = append(options, verify.WithSignedTimestamps(1))
	}
	if len(material.CTLogs()) > 0 {
		options = append(options, verify.WithSignedCertificateTimestamps(1))
	}
	return decide(b, material, verify.NewPolicy(c.artifact(), k.policies...), options...)
}

func decide(b *bundle.Bundle, material root.TrustedMaterial, policy verify.PolicyBuilder, options ...verify.VerifierOption) error {
	verifier, err := verify.NewVerifier(material, options...)
	if err != nil {
		return err
	}
	_, err = verifier.Verify(b, policy)
	return err
}

// artifactDigest demands that a bundle is about the digest.
func artifactDigest(digest string) (verify.ArtifactPolicyOption, error) {
	algorithm, text, _ := strings.Cut(digest, ":")
	sum, err := hex.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("digest '%s': %w", digest, err)
	}
	return verify.WithArtifactDigest(algorithm, sum), nil
}
