package verifytest

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"google.golang.org/protobuf/encoding/protojson"
)

// Instance is a private Sigstore: a certificate authority, a transparency log, a timestamp authority.
type Instance struct {
	virtual *ca.VirtualSigstore
	// URL at which the log answers questions.
	URL string

	mu      sync.Mutex
	entries []logged // that the log knows
}

// logged is an entry of the log, and the signature that it is of.
type logged struct {
	signature []byte
	entry     *protorekor.TransparencyLogEntry
}

// NewInstance starts an instance that lasts as long as the test.
func NewInstance(t testing.TB) *Instance {
	t.Helper()
	virtual, err := ca.NewVirtualSigstore()
	must(t, err)
	i := &Instance{virtual: virtual}
	srv := httptest.NewServer(http.HandlerFunc(i.search))
	t.Cleanup(srv.Close)
	i.URL = srv.URL
	return i
}

// TrustedRoot is the instance's trusted_root.json. With transparent, certificates have to be in a log of theirs too, which
// those of the instance never are.
func (i *Instance) TrustedRoot(t testing.TB, transparent bool) []byte {
	t.Helper()
	certificates := map[string]*root.TransparencyLog{}
	if transparent {
		certificates = decoded(t, i.virtual.CTLogs())
	}
	logs := decoded(t, i.virtual.RekorLogs())
	for _, l := range logs {
		l.BaseURL = i.URL
	}
	trusted, err := root.NewTrustedRoot(root.TrustedRootMediaType01, i.virtual.FulcioCertificateAuthorities(), certificates, i.virtual.TimestampingAuthorities(), logs)
	must(t, err)
	text, err := trusted.MarshalJSON()
	must(t, err)
	return text
}

// decoded mends the ids, which the library keeps as text.
func decoded(t testing.TB, logs map[string]*root.TransparencyLog) map[string]*root.TransparencyLog {
	t.Helper()
	for _, l := range logs {
		id, err := hex.DecodeString(string(l.ID))
		must(t, err)
		l.ID = id
	}
	return logs
}

// signedAt is when signatures are made: the certificates of the library begin then.
func signedAt() time.Time { return time.Now().Add(5 * time.Minute) }

// Sign signs as cosign 3 does: with a certificate for the subject, which the issuer vouched for.
func (i *Instance) Sign(t testing.TB, g Target, subject, issuer string) {
	t.Helper()
	i.Attest(t, g, g.Statement(), subject, issuer)
}

// Attest attaches a bundle with any statement to the artifact.
func (i *Instance) Attest(t testing.TB, g Target, statement []byte, subject, issuer string) {
	t.Helper()
	entity, err := i.virtual.AttestAtTime(subject, issuer, statement, signedAt(), true)
	must(t, err)
	content, err := entity.SignatureContent()
	must(t, err)
	envelope := content.EnvelopeContent().RawEnvelope()
	body, err := envelope.DecodeB64Payload()
	must(t, err)
	made := &protobundle.Bundle{
		MediaType: bundleType,
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content:     &protobundle.VerificationMaterial_Certificate{Certificate: &protocommon.X509Certificate{RawBytes: certificateOf(t, entity).Raw}},
			TlogEntries: []*protorekor.TransparencyLogEntry{i.entryOf(t, entity)},
		},
		Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
			Payload: body, PayloadType: envelope.PayloadType, Signatures: []*protodsse.Signature{{Sig: content.Signature()}},
		}},
	}
	data, err := protojson.Marshal(made)
	must(t, err)
	g.AttachBundle(t, data)
}

// SignLegacy signs as cosign 2 does. Without a proof the log has to be asked for it.
func (i *Instance) SignLegacy(t testing.TB, g Target, subject, issuer string, proof bool) {
	t.Helper()
	text := g.Payload(t)
	entity, err := i.virtual.SignAtTime(subject, issuer, text, signedAt())
	must(t, err)
	content, err := entity.SignatureContent()
	must(t, err)
	certificate, err := cryptoutils.MarshalCertificateToPEM(certificateOf(t, entity))
	must(t, err)
	annotations := map[string]string{
		"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(content.Signature()),
		"dev.sigstore.cosign/certificate":    string(certificate),
	}
	e := i.entryOf(t, entity)
	if proof {
		data, err := json.Marshal(map[string]any{
			"SignedEntryTimestamp": e.InclusionPromise.SignedEntryTimestamp,
			"Payload": map[string]any{
				"body": e.CanonicalizedBody, "integratedTime": e.IntegratedTime, "logIndex": e.LogIndex, "logID": hex.EncodeToString(e.LogId.KeyId),
			},
		})
		must(t, err)
		annotations["dev.sigstore.cosign/bundle"] = string(data)
	} else {
		i.mu.Lock()
		i.entries = append(i.entries, logged{content.Signature(), e})
		i.mu.Unlock()
	}
	g.AttachLegacy(t, text, annotations)
}

// search answers as a transparency log of the first generation does.
func (i *Instance) search(w http.ResponseWriter, r *http.Request) {
	var question struct {
		Entries []struct {
			Kind string
			Spec struct{ Signature struct{ Content []byte } }
		}
	}
	if r.URL.Path != "/api/v1/log/entries/retrieve" || json.NewDecoder(r.Body).Decode(&question) != nil || len(question.Entries) == 0 {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	answer := []map[string]any{}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, entry := range i.entries {
		if !bytes.Equal(entry.signature, question.Entries[0].Spec.Signature.Content) {
			continue
		}
		e := entry.entry
		answer = append(answer, map[string]any{"0123456789abcdef": map[string]any{
			"body": e.CanonicalizedBody, "integratedTime": e.IntegratedTime, "logIndex": e.LogIndex, "logID": hex.EncodeToString(e.LogId.KeyId),
			"verification": map[string]any{"signedEntryTimestamp": e.InclusionPromise.SignedEntryTimestamp},
		}})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

func certificateOf(t testing.TB, e *ca.TestEntity) *x509.Certificate {
	t.Helper()
	content, err := e.VerificationContent()
	must(t, err)
	return content.Certificate()
}

// entryOf is the entry of the log, with what the library keeps to itself: its kind, and the promise of the log.
func (i *Instance) entryOf(t testing.TB, e *ca.TestEntity) *protorekor.TransparencyLogEntry {
	t.Helper()
	entries, err := e.TlogEntries()
	must(t, err)
	entry := entries[0].TransparencyLogEntry()
	var kind struct{ APIVersion, Kind string }
	must(t, json.Unmarshal(entry.CanonicalizedBody, &kind))
	entry.KindVersion = &protorekor.KindVersion{Kind: kind.Kind, Version: kind.APIVersion}
	promise, err := i.virtual.RekorSignPayload(tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(entry.CanonicalizedBody), IntegratedTime: entry.IntegratedTime,
		LogIndex: entry.LogIndex, LogID: hex.EncodeToString(entry.LogId.KeyId),
	})
	must(t, err)
	entry.InclusionPromise = &protorekor.InclusionPromise{SignedEntryTimestamp: promise}
	return entry
}
