package verify

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/gitops-toolkit/flux/internal/verify/verifytest"
)

// repository is a TUF repository at a server, signed with one key.
type repository struct {
	*testing.T
	signer signature.Signer
	key    *metadata.Key
	server *httptest.Server

	mu    sync.Mutex
	files map[string][]byte
	down  bool
}

func newRepository(t *testing.T) *repository {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	r := &repository{T: t, files: map[string][]byte{}}
	r.must(err)
	r.key, err = metadata.KeyFromPublicKey(public)
	r.must(err)
	r.signer, err = signature.LoadSigner(private, crypto.Hash(0))
	r.must(err)
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	return r
}

func (r *repository) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *repository) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	data, found := r.files[strings.TrimPrefix(req.URL.Path, "/")]
	switch {
	case r.down:
		w.WriteHeader(http.StatusInternalServerError)
	case !found:
		w.WriteHeader(http.StatusNotFound)
	default:
		_, _ = w.Write(data)
	}
}

// set changes what the server does.
func (r *repository) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// publish signs a version with this trusted root and returns the metadata of the root role.
func (r *repository) publish(version int64, trusted []byte, expires time.Time) []byte {
	r.Helper()
	top, targets, snapshot, timestamp := metadata.Root(expires), metadata.Targets(expires), metadata.Snapshot(expires), metadata.Timestamp(expires)
	for _, role := range []string{"root", "targets", "snapshot", "timestamp"} {
		r.must(top.Signed.AddKey(r.key, role))
	}
	target, err := metadata.TargetFile().FromBytes(KeyTrustedRoot, trusted, "sha256")
	r.must(err)
	targets.Signed.Targets[KeyTrustedRoot] = target
	targets.Signed.Version, snapshot.Signed.Version, timestamp.Signed.Version = version, version, version
	snapshot.Signed.Meta["targets.json"] = metadata.MetaFile(version)
	timestamp.Signed.Meta["snapshot.json"] = metadata.MetaFile(version)
	bytesOf := func(sign func(signature.Signer) (*metadata.Signature, error), encode func(bool) ([]byte, error)) []byte {
		_, err := sign(r.signer)
		r.must(err)
		data, err := encode(false)
		r.must(err)
		return data
	}
	made := bytesOf(top.Sign, top.ToBytes)
	r.set(func() {
		r.files["timestamp.json"] = bytesOf(timestamp.Sign, timestamp.ToBytes)
		r.files[fmt.Sprintf("%d.snapshot.json", version)] = bytesOf(snapshot.Sign, snapshot.ToBytes)
		r.files[fmt.Sprintf("%d.targets.json", version)] = bytesOf(targets.Sign, targets.ToBytes)
		r.files["targets/"+target.Hashes["sha256"].String()+"."+KeyTrustedRoot] = trusted
	})
	return made
}

// authorityOf is the certificate of an authority.
func authorityOf(t *testing.T, ca root.CertificateAuthority) []byte {
	t.Helper()
	fulcio, is := ca.(*root.FulcioCertificateAuthority)
	if !is {
		t.Fatalf("authority %T", ca)
	}
	return fulcio.Root.Raw
}

// TestPublicRootFromServer fetches a trusted root as that of the public instance is: by TUF, over HTTP.
func TestPublicRootFromServer(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	first, second := verifytest.NewInstance(t).TrustedRoot(t, false), verifytest.NewInstance(t).TrustedRoot(t, false)
	anchor := r.publish(1, first, time.Now().Add(time.Hour))
	now := time.Now()
	open := func(anchor []byte) *PublicRoot {
		p := publicRoot(tuf.DefaultOptions().WithRoot(anchor).WithRepositoryBaseURL(r.server.URL))
		p.now = func() time.Time { return now }
		return p
	}
	p := open(anchor)
	is := func(what string, want []byte) {
		t.Helper()
		m, err := p.Material(context.Background())
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		theirs, err := TrustedRoot("s", map[string][]byte{KeyTrustedRoot: want})
		r.must(err)
		expected, err := theirs.Material(context.Background())
		r.must(err)
		got, ours := m.FulcioCertificateAuthorities(), expected.FulcioCertificateAuthorities()
		if len(got) != 1 || len(ours) != 1 {
			t.Fatalf("%s: %d and %d authorities", what, len(got), len(ours))
		}
		if !bytes.Equal(authorityOf(t, got[0]), authorityOf(t, ours[0])) {
			t.Errorf("%s: another root", what)
		}
	}
	is("first", first)
	r.publish(2, second, time.Now().Add(time.Hour))
	is("within a day", first)
	now = now.Add(25 * time.Hour)
	is("after a day", second)
	r.set(func() { r.down = true })
	now = now.Add(25 * time.Hour)
	is("while the server is down", second)
	r.set(func() { r.down = false })

	// What is wrong with a repository is said, and nothing of it is trusted.
	stranger := newRepository(t)
	foreign := stranger.publish(1, first, time.Now().Add(time.Hour))
	refused := func(what string, anchor []byte) {
		t.Helper()
		if m, err := open(anchor).Material(context.Background()); err == nil || m != nil || !strings.HasPrefix(err.Error(), "the trusted root of the public Sigstore instance cannot be fetched: ") {
			t.Errorf("%s: %v, %v", what, m, err)
		}
	}
	refused("signed by another key", foreign)
	r.set(func() {
		for name := range r.files {
			if strings.HasPrefix(name, "targets/") {
				r.files[name] = bytes.Replace(r.files[name], []byte("certificateAuthorities"), []byte("certificateauthorities"), 1)
			}
		}
	})
	refused("a changed target", anchor)
	r.publish(3, first, time.Now().Add(-time.Minute))
	refused("expired", anchor)
}
