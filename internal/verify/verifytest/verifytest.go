// Package verifytest signs artifacts for tests, as cosign does with a key or through a private Sigstore instance, and as
// notation does.
package verifytest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/payload"
	"google.golang.org/protobuf/encoding/protojson"
)

// bundleType is the media type of a Sigstore bundle.
const bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json"

// Target is an artifact in a registry without TLS, as host/repository, and the digest of its manifest.
type Target struct {
	Repository, Digest string
	// Transport to the registry; the default one when nil.
	Transport http.RoundTripper
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (g Target) options() []remote.Option {
	if g.Transport == nil {
		return nil
	}
	return []remote.Option{remote.WithTransport(g.Transport)}
}

func (g Target) digest(t testing.TB) name.Digest {
	t.Helper()
	ref, err := name.NewDigest(g.Repository+"@"+g.Digest, name.Insecure)
	must(t, err)
	return ref
}

// Statement is what a bundle says of the artifact.
func (g Target) Statement() []byte {
	return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"%s"}}],`+
		`"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`, strings.TrimPrefix(g.Digest, "sha256:"))
}

// Payload is what is signed in the old format.
func (g Target) Payload(t testing.TB) []byte {
	t.Helper()
	data, err := payload.Cosign{Image: g.digest(t)}.MarshalJSON()
	must(t, err)
	return data
}

// Key is a pair of keys.
type Key struct {
	private *ecdsa.PrivateKey
	// PEM of the public key.
	PEM []byte
}

// NewKey makes a key.
func NewKey(t testing.TB) *Key {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	text, err := cryptoutils.MarshalPublicKeyToPEM(private.Public())
	must(t, err)
	return &Key{private, text}
}

// SignLegacy signs in the format of cosign 2.
func (k *Key) SignLegacy(t testing.TB, g Target) {
	t.Helper()
	k.SignPayload(t, g, g.Payload(t))
}

// SignPayload attaches a signature of any payload to the artifact.
func (k *Key) SignPayload(t testing.TB, g Target, text []byte) {
	t.Helper()
	signer, err := signature.LoadSigner(k.private, crypto.SHA256)
	must(t, err)
	sig, err := signer.SignMessage(bytes.NewReader(text))
	must(t, err)
	g.AttachLegacy(t, text, map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(sig)})
}

// Sign signs in the format of cosign 3.
func (k *Key) Sign(t testing.TB, g Target) {
	t.Helper()
	made, err := sign.Bundle(&sign.DSSEData{Data: g.Statement(), PayloadType: "application/vnd.in-toto+json"}, keypair(t, k), sign.BundleOptions{})
	must(t, err)
	data, err := protojson.Marshal(made)
	must(t, err)
	g.AttachBundle(t, data)
}

// keypair shows a key to the library.
func keypair(t testing.TB, k *Key) sign.Keypair {
	t.Helper()
	p, err := sign.NewEphemeralKeypair(nil)
	must(t, err)
	return &ownKeypair{p, k}
}

// ownKeypair is of the same kind as the one of the library, with a key of ours.
type ownKeypair struct {
	*sign.EphemeralKeypair
	key *Key
}

func (o *ownKeypair) GetHint() []byte {
	der, _ := cryptoutils.MarshalPublicKeyToDER(o.key.private.Public())
	sum := sha256.Sum256(der)
	return []byte(base64.StdEncoding.EncodeToString(sum[:]))
}
func (o *ownKeypair) GetPublicKey() crypto.PublicKey   { return o.key.private.Public() }
func (o *ownKeypair) GetPublicKeyPem() (string, error) { return string(o.key.PEM), nil }
func (o *ownKeypair) SignData(_ context.Context, data []byte) ([]byte, []byte, error) {
	sum := sha256.Sum256(data)
	sig, err := ecdsa.SignASN1(rand.Reader, o.key.private, sum[:])
	return sig, sum[:], err
}

// AttachLegacy adds a layer with a signature to the manifest with the tag that is made of the digest.
func (g Target) AttachLegacy(t testing.TB, text []byte, annotations map[string]string) {
	t.Helper()
	tag, err := name.NewTag(g.Repository+":"+strings.Replace(g.Digest, ":", "-", 1)+".sig", name.Insecure)
	must(t, err)
	img, err := remote.Image(tag, g.options()...)
	if err != nil {
		img = mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	}
	img, err = mutate.Append(img, mutate.Addendum{
		Layer: static.NewLayer(text, "application/vnd.dev.cosign.simplesigning.v1+json"), Annotations: annotations,
	})
	must(t, err)
	must(t, remote.Write(tag, img, g.options()...))
}

// AttachBundle makes a manifest with the bundle that refers to the artifact.
func (g Target) AttachBundle(t testing.TB, data []byte) {
	t.Helper()
	subject, err := remote.Head(g.digest(t), g.options()...)
	must(t, err)
	repo := g.digest(t).Context()
	config, bundle := static.NewLayer([]byte("{}"), "application/vnd.oci.empty.v1+json"), static.NewLayer(data, bundleType)
	must(t, remote.WriteLayer(repo, config, g.options()...))
	must(t, remote.WriteLayer(repo, bundle, g.options()...))
	m := referrer{
		Manifest: v1.Manifest{
			SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: describe(t, config),
			Layers: []v1.Descriptor{describe(t, bundle)}, Subject: subject,
		},
		ArtifactType: bundleType,
	}
	raw, err := json.Marshal(m)
	must(t, err)
	sum := sha256.Sum256(raw)
	ref := repo.Digest("sha256:" + hex.EncodeToString(sum[:]))
	must(t, remote.Put(ref, m, g.options()...))
}

func describe(t testing.TB, l v1.Layer) v1.Descriptor {
	t.Helper()
	digest, err := l.Digest()
	must(t, err)
	size, err := l.Size()
	must(t, err)
	mediaType, err := l.MediaType()
	must(t, err)
	return v1.Descriptor{MediaType: mediaType, Digest: digest, Size: size}
}

// referrer is a manifest with a type of its own.
type referrer struct {
	v1.Manifest
	ArtifactType string `json:"artifactType"`
}

// RawManifest returns the bytes.
func (r referrer) RawManifest() ([]byte, error) { return json.Marshal(r) }

// MediaType is that of image manifests.
func (r referrer) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }
