// Package trust turns the field spec.verify of OCIRepositories and HelmCharts into a verifier.
package trust

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/verify"
)

// Providers of signatures.
const (
	Cosign   = "cosign"
	Notation = "notation"
)

// Spec is spec.verify of either kind.
type Spec struct {
	Provider          string
	SecretRef         *meta.LocalObjectReference
	MatchOIDCIdentity []sourcev1.OIDCIdentityMatch
	// TrustedRootSecretRef is a field of OCIRepositories only.
	TrustedRootSecretRef *meta.LocalObjectReference
}

// OfRepository is spec.verify of an OCIRepository, nil if there is none.
func OfRepository(v *sourcev1.OCIRepositoryVerification) *Spec {
	if v == nil {
		return nil
	}
	return &Spec{v.Provider, v.SecretRef, v.MatchOIDCIdentity, v.TrustedRootSecretRef}
}

// OfChart is spec.verify of a HelmChart, nil if there is none.
func OfChart(v *sourcev1.HelmChartVerification) *Spec {
	if v == nil {
		return nil
	}
	return &Spec{Provider: v.Provider, SecretRef: v.SecretRef, MatchOIDCIdentity: v.MatchOIDCIdentity}
}

// Secrets names the Secrets that a verifier is made of.
func (s *Spec) Secrets() (names []string) {
	if s == nil {
		return nil
	}
	if s.SecretRef != nil {
		names = append(names, s.SecretRef.Name)
	} else if s.TrustedRootSecretRef != nil {
		names = append(names, s.TrustedRootSecretRef.Name)
	}
	return names
}

// Reader reads the Secret that a field of the object names. Its errors name field and Secret.
type Reader func(ctx context.Context, field, name string) (map[string][]byte, error)

// Verifier makes the verifier. Errors of its own are verify.ErrTrust, others are those of the reader.
func (s *Spec) Verifier(ctx context.Context, namespace string, public *verify.PublicRoot, read Reader) (verify.Verifier, error) {
	provider := cmp.Or(s.Provider, Cosign)
	switch {
	case provider != Cosign && provider != Notation:
		return nil, fmt.Errorf("%w: spec.verify.provider '%s' is neither cosign nor notation", verify.ErrTrust, provider)
	case s.SecretRef != nil:
		data, err := read(ctx, "spec.verify.secretRef", s.SecretRef.Name)
		if err != nil {
			return nil, err
		}
		if provider == Notation {
			return verify.Notation(namespace+"/"+s.SecretRef.Name, data)
		}
		return verify.Keys(namespace+"/"+s.SecretRef.Name, data)
	case provider == Notation:
		return nil, fmt.Errorf("%w: spec.verify.secretRef is required with the provider notation", verify.ErrTrust)
	}
	return s.keyless(ctx, namespace, public, read)
}

func (s *Spec) keyless(ctx context.Context, namespace string, public *verify.PublicRoot, read Reader) (verify.Verifier, error) {
	ids := make([]verify.Identity, 0, len(s.MatchOIDCIdentity))
	for _, id := range s.MatchOIDCIdentity {
		ids = append(ids, verify.Identity{Issuer: id.Issuer, Subject: id.Subject})
	}
	ref := s.TrustedRootSecretRef
	if ref == nil {
		if public == nil {
			return nil, errors.New("no source of the public trusted root")
		}
		return verify.Keyless(ids, public)
	}
	data, err := read(ctx, "spec.verify.trustedRootSecretRef", ref.Name)
	if err != nil {
		return nil, err
	}
	root, err := verify.TrustedRoot(namespace+"/"+ref.Name, data)
	if err != nil {
		return nil, err
	}
	return verify.Keyless(ids, root)
}

// Name is how messages call the method of the spec, also where no verifier could be made.
func (s *Spec) Name() string {
	if provider := cmp.Or(s.Provider, Cosign); provider != Cosign || s.SecretRef != nil {
		return provider
	}
	return "cosign keyless"
}

// Failed words the failure of a verification as people and their alerts know it.
func (s *Spec) Failed(err error) error {
	return fmt.Errorf("failed to verify the signature using provider '%s': %w", s.Name(), err)
}
