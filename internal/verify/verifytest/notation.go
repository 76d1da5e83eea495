package verifytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/notaryproject/notation-go"
	notationregistry "github.com/notaryproject/notation-go/registry"
	"github.com/notaryproject/notation-go/signer"
	orasremote "oras.land/oras-go/v2/registry/remote"
)

// Signer signs with notation.
type Signer struct {
	key   crypto.PrivateKey
	chain []*x509.Certificate
	// PEM of the authority's certificate.
	PEM []byte
}

// NewSigner makes a signer with this name, and an authority that vouches for it.
func NewSigner(t testing.TB, commonName string) *Signer {
	t.Helper()
	ca := template(1, "Test authority of "+commonName)
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	caCertificate := issue(t, ca, ca, caKey, caKey)
	leaf := template(2, commonName)
	leaf.KeyUsage, leaf.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return &Signer{
		key: key, chain: []*x509.Certificate{issue(t, leaf, caCertificate, key, caKey), caCertificate},
		PEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caCertificate.Raw}),
	}
}

func template(serial int64, commonName string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		Subject: pkix.Name{CommonName: commonName, Country: []string{"DE"}, Province: []string{"BE"}, Organization: []string{"Tests"}},
	}
}

func issue(t testing.TB, c, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), parentKey)
	must(t, err)
	parsed, err := x509.ParseCertificate(der)
	must(t, err)
	return parsed
}

// Sign signs the artifact. The media type is application/jose+json or application/cose.
func (s *Signer) Sign(t testing.TB, g Target, mediaType string) {
	t.Helper()
	generic, err := signer.NewGenericSigner(s.key, s.chain)
	must(t, err)
	repo, err := orasremote.NewRepository(g.Repository)
	must(t, err)
	repo.PlainHTTP = true
	_, err = notation.Sign(t.Context(), generic, notationregistry.NewRepository(repo), notation.SignOptions{
		SignerSignOptions: notation.SignerSignOptions{SignatureMediaType: mediaType}, ArtifactReference: g.Repository + "@" + g.Digest,
	})
	must(t, err)
}

// Policy is a trustpolicy.json of one statement for all registries: its level, and the identities that it trusts.
func Policy(level, identity string) []byte {
	if level == "skip" {
		return []byte(`{"version":"1.0","trustPolicies":[{"name":"all","registryScopes":["*"],"signatureVerification":{"level":"skip"}}]}`)
	}
	return fmt.Appendf(nil, `{"version":"1.0","trustPolicies":[{"name":"all","registryScopes":["*"],"signatureVerification":{"level":"%s"},`+
		`"trustStores":["ca:any"],"trustedIdentities":["%s"]}]}`, level, identity)
}
