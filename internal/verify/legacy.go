package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"github.com/gitops-toolkit/flux/internal/registry"
)

// Names of the format that cosign wrote before version 3.
const (
	simpleSigning         = "application/vnd.dev.cosign.simplesigning.v1+json"
	annotationSignature   = "dev.cosignproject.cosign/signature"
	annotationCertificate = "dev.sigstore.cosign/certificate"
	annotationBundle      = "dev.sigstore.cosign/bundle"
	annotationTimestamp   = "dev.sigstore.cosign/rfc3161timestamp"
	legacyBundle          = "application/vnd.dev.sigstore.bundle+json;version=0.1"
)

// legacy finds the signatures behind the tag that is made of the digest.
func legacy(ctx context.Context, repo *registry.Repository, digest string) (found []*candidate, err error) {
	tag := strings.Replace(digest, ":", "-", 1) + ".sig"
	m, err := readManifest(ctx, repo, tag)
	if errors.Is(err, registry.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the signatures '%s': %w", tag, err)
	}
	for i, l := range m.Layers {
		if l.MediaType != simpleSigning {
			continue
		}
		if len(found) == maxSignatures {
			return nil, fmt.Errorf("%w: '%s' has more than %d signatures", registry.ErrLimit, tag, maxSignatures)
		}
		payload, err := l.read(ctx, repo)
		if err != nil {
			return nil, err
		}
		c := &candidate{where: fmt.Sprintf("signature %d of the tag %s", i+1, tag)}
		if err := c.fill(payload, digest, l.Annotations); err != nil {
			c.bundle = func(context.Context, root.TrustedMaterial) (*bundle.Bundle, error) { return nil, err }
			c.artifact = func() verify.ArtifactPolicyOption { return verify.WithArtifact(bytes.NewReader(nil)) }
		}
		found = append(found, c)
	}
	return found, nil
}

// fill makes a candidate of what a layer holds. One that is about another digest gets no payload, and its bundle is an
// error.
func (c *candidate) fill(payload []byte, digest string, annotations map[string]string) error {
	var claim struct {
		Critical struct {
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	if err := json.Unmarshal(payload, &claim); err != nil {
		return fmt.Errorf("what is signed cannot be parsed: %w", err)
	}
	if got := claim.Critical.Image.Digest; got != digest {
		return fmt.Errorf("it is of the digest '%.100s', not of '%s'", got, digest)
	}
	signature, err := base64.StdEncoding.DecodeString(annotations[annotationSignature])
	if err != nil || len(signature) == 0 {
		return errors.New("it holds no signature in base64")
	}
	c.payload, c.signature = payload, signature
	c.artifact = func() verify.ArtifactPolicyOption { return verify.WithArtifact(bytes.NewReader(payload)) }
	c.bundle = func(ctx context.Context, material root.TrustedMaterial) (*bundle.Bundle, error) {
		return legacyToBundle(ctx, material, payload, signature, annotations)
	}
	return nil
}

// legacyToBundle says the same as the annotations in the words of a bundle.
func legacyToBundle(ctx context.Context, material root.TrustedMaterial, payload, signature []byte, annotations map[string]string) (*bundle.Bundle, error) {
	certificates, err := cryptoutils.UnmarshalCertificatesFromPEM([]byte(annotations[annotationCertificate]))
	if err != nil {
		return nil, fmt.Errorf("its certificate cannot be parsed: %w", err)
	}
	if len(certificates) == 0 {
		return nil, errors.New("it was made with a key, without a certificate that tells an identity")
	}
	sum := sha256.Sum256(payload)
	entries, err := logEntries(annotations[annotationBundle])
	if err == nil && len(entries) == 0 {
		entries, err = searchLogs(ctx, material, sum[:], signature, []byte(annotations[annotationCertificate]))
	}
	if err != nil {
		return nil, err
	}
	made := &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{
			Certificates: []*protocommon.X509Certificate{{RawBytes: certificates[0].Raw}},
		}},
		TlogEntries: entries,
	}
	if text := annotations[annotationTimestamp]; text != "" {
		var stamp struct{ SignedRFC3161Timestamp []byte }
		if err := json.Unmarshal([]byte(text), &stamp); err != nil {
			return nil, fmt.Errorf("its timestamp cannot be parsed: %w", err)
		}
		made.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamp.SignedRFC3161Timestamp}},
		}
	}
	return bundle.NewBundle(&protobundle.Bundle{
		MediaType: legacyBundle, VerificationMaterial: made,
		Content: &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]}, Signature: signature,
		}},
	})
}

// logEntries reads the proof that a transparency log gave; there is none in an empty text.
func logEntries(text string) ([]*protorekor.TransparencyLogEntry, error) {
	if text == "" {
		return nil, nil
	}
	var proof struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body           []byte `json:"body"`
			IntegratedTime int64  `json:"integratedTime"`
			LogIndex       int64  `json:"logIndex"`
			LogID          string `json:"logID"`
		}
	}
	if err := json.Unmarshal([]byte(text), &proof); err != nil {
		return nil, fmt.Errorf("its entry of the transparency log cannot be parsed: %w", err)
	}
	p := proof.Payload
	entry, err := newLogEntry(p.Body, p.IntegratedTime, p.LogIndex, p.LogID, proof.SignedEntryTimestamp)
	if err != nil {
		return nil, err
	}
	return []*protorekor.TransparencyLogEntry{entry}, nil
}

func newLogEntry(body []byte, time, index int64, log string, promise []byte) (*protorekor.TransparencyLogEntry, error) {
	var kind struct{ APIVersion, Kind string }
	if err := json.Unmarshal(body, &kind); err != nil {
		return nil, fmt.Errorf("its entry of the transparency log cannot be parsed: %w", err)
	}
	id, err := hex.DecodeString(log)
	if err != nil {
		return nil, fmt.Errorf("its entry of the transparency log names no log: %w", err)
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex: index, LogId: &protocommon.LogId{KeyId: id}, IntegratedTime: time, CanonicalizedBody: body,
		KindVersion:      &protorekor.KindVersion{Kind: kind.Kind, Version: kind.APIVersion},
		InclusionPromise: &protorekor.InclusionPromise{SignedEntryTimestamp: promise},
	}, nil
}
