package test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// otherMaker is a controller of somebody else: it packs files with the compressor of Go's own library, as one member, and
// serves them.
type otherMaker struct {
	*scenario
	server *httptest.Server
	mu     sync.Mutex
	files  map[string][]byte
	// tamper changes a byte of what is served.
	tamper bool
}

func newOtherMaker(s *scenario) *otherMaker {
	m := &otherMaker{scenario: s, files: map[string][]byte{}}
	m.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		defer m.mu.Unlock()
		data, found := m.files[r.URL.Path]
		if !found {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(data)
	}))
	s.Cleanup(m.server.Close)
	return m
}

// offer writes the status of an ExternalArtifact, and makes the object if need be.
func (m *otherMaker) offer(name, file, revision, manifest string, level int) (digest string) {
	m.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, level)
	m.must(err, "compress")
	w := tar.NewWriter(z)
	m.must(w.WriteHeader(&tar.Header{Name: "cm.yaml", Mode: 0o644, Size: int64(len(manifest)), ModTime: time.Now()}), "write")
	_, err = w.Write([]byte(manifest))
	m.must(err, "write")
	m.must(w.Close(), "close")
	m.must(z.Close(), "close")
	sum := sha256.Sum256(b.Bytes())
	digest = "sha256:" + hex.EncodeToString(sum[:])
	m.mu.Lock()
	m.files["/"+file] = bytes.Clone(b.Bytes())
	if m.tamper {
		m.files["/"+file][len(b.Bytes())/2] ^= 1
	}
	m.mu.Unlock()

	o := m.get("ExternalArtifact", name)
	if o == nil {
		o = m.object("ExternalArtifact", name)
		m.must(m.c.Create(m.ctx, o), "create the ExternalArtifact")
	}
	old := o.DeepCopy()
	now := time.Now().UTC().Format(time.RFC3339)
	o.Object["status"] = map[string]any{
		"artifact": map[string]any{
			"path": file, "url": m.server.URL + "/" + file, "revision": revision, "digest": digest, "size": int64(b.Len()), "lastUpdateTime": now,
		},
		"conditions": []any{map[string]any{
			"type": "Ready", "status": string(metav1.ConditionTrue), "reason": "Succeeded", "message": "made", "lastTransitionTime": now,
		}},
	}
	m.must(m.c.Status().Patch(m.ctx, o, client.MergeFrom(old)), "write the status")
	return digest
}

// What another controller offers as an ExternalArtifact is applied. Other bytes of the same revision wake nobody; another
// revision does.
func TestExternalArtifactOfAnotherController(t *testing.T) {
	s := begin(t)
	s.Cleanup(func() { _ = s.c.DeleteAllOf(s.ctx, s.object("ExternalArtifact", ""), client.InNamespace(s.ns)) })
	m := newOtherMaker(s)
	follow := func(name string) {
		s.apply(strings.ReplaceAll(`apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: NAME
spec:
  interval: 1h
  path: ./
  prune: true
  targetNamespace: $NS
  sourceRef: {kind: ExternalArtifact, name: NAME}
`, "NAME", name))
	}
	m.offer("theirs", "1.tar.gz", "build-1@sha256:aa", configMap("theirs", "one"), gzip.DefaultCompression)
	m.offer("mark", "mark-1.tar.gz", "mark-1@sha256:aa", configMap("mark", "one"), gzip.DefaultCompression)
	follow("theirs")
	follow("mark")
	s.ready("Kustomization", "theirs", "build-1@sha256:aa")
	s.ready("Kustomization", "mark", "mark-1@sha256:aa")
	s.exists("ConfigMap", "theirs")

	passes, err := world.kustomize.Passes("Kustomization", "theirs")
	s.must(err, "read the metrics")
	before := s.get("Kustomization", "theirs").GetResourceVersion()
	m.offer("theirs", "1-again.tar.gz", "build-1@sha256:aa", configMap("theirs", "one"), gzip.BestSpeed)
	// What was offered later has arrived when this has, through the same watch.
	m.offer("mark", "mark-2.tar.gz", "mark-2@sha256:bb", configMap("mark", "two"), gzip.DefaultCompression)
	s.ready("Kustomization", "mark", "mark-2@sha256:bb")
	if now, err := world.kustomize.Passes("Kustomization", "theirs"); err != nil || now != passes {
		t.Errorf("other bytes of the same revision: %v passes, and %v before (%v)", now, passes, err)
	}
	if now := s.get("Kustomization", "theirs").GetResourceVersion(); now != before {
		t.Error("other bytes of the same revision changed the Kustomization")
	}

	m.offer("theirs", "2.tar.gz", "build-2@sha256:bb", configMap("theirs", "two"), gzip.DefaultCompression)
	s.await("ConfigMap", "theirs", "that of the second revision", func(o *unstructured.Unstructured) bool {
		text, _, _ := unstructured.NestedString(o.Object, "data", "key")
		return text == "two"
	})
	// A file that is not what its maker says is refused, and what was applied stays.
	m.tamper = true
	m.offer("theirs", "3.tar.gz", "build-3@sha256:cc", configMap("theirs", "three"), gzip.DefaultCompression)
	s.failing("Kustomization", "theirs", "ArtifactFailed", "computed digest doesn't match")
	if text, _, _ := unstructured.NestedString(s.get("ConfigMap", "theirs").Object, "data", "key"); text != "two" {
		t.Errorf("a tampered artifact was applied: %q", text)
	}
}
