package verify_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/internal/verify"
	"github.com/gitops-toolkit/flux/internal/verify/verifytest"
)

const (
	subject = "https://github.com/example/fleet/.github/workflows/release.yaml@refs/tags/v1"
	issuer  = "https://token.actions.githubusercontent.com"
	jws     = "application/jose+json"
	cose    = "application/cose"
)

// shelf is a registry with an artifact.
type shelf struct {
	*testing.T
	server *registrytest.Server
	repo   *registry.Repository
}

func newShelf(t *testing.T, opts registrytest.Options) *shelf {
	t.Helper()
	return openShelf(t, registrytest.Start(t, opts), "app")
}

func openShelf(t *testing.T, server *registrytest.Server, repository string) *shelf {
	t.Helper()
	repo, err := registry.NewPool(registry.Options{Retries: []time.Duration{}}).Open(registry.Remote{URL: server.URL(repository), Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	return &shelf{t, server, repo}
}

// push puts an artifact with this content.
func (s *shelf) push(content string) verifytest.Target {
	s.Helper()
	name := strings.TrimPrefix(s.repo.Name(), s.server.Host+"/")
	digest := s.server.Push(s.T, name, "v1", nil, registrytest.Archive(s.T, map[string]string{"a": content}))
	return verifytest.Target{Repository: s.repo.Name(), Digest: digest}
}

// expect verifies; want is the Result, or a part of the error.
func (s *shelf) expect(what string, v verify.Verifier, g verifytest.Target, want any) {
	s.Helper()
	got, err := v.Verify(s.Context(), s.repo, g.Digest)
	switch want := want.(type) {
	case verify.Result:
		if got != want || err != nil {
			s.Errorf("%s: %v, %v, want %v", what, got, err, want)
		}
	case string:
		if err == nil || got != 0 || !strings.Contains(err.Error(), want) {
			s.Errorf("%s: %v, %v, want an error with %q", what, got, err, want)
		}
	}
}

func must[V any](t *testing.T) func(V, error) V {
	return func(v V, err error) V {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	s := newShelf(t, registrytest.Options{})
	ours, others := verifytest.NewKey(t), verifytest.NewKey(t)
	trust := must[verify.Verifier](t)(verify.Keys("apps/keys", map[string][]byte{
		"old.pub": verifytest.NewKey(t).PEM, "new.pub": ours.PEM, "readme.txt": []byte("no key"),
	}))
	unsigned, bundled, legacy, foreign, both := s.push("1"), s.push("2"), s.push("3"), s.push("4"), s.push("5")
	ours.Sign(t, bundled)
	ours.SignLegacy(t, legacy)
	others.Sign(t, foreign)
	others.SignLegacy(t, foreign)
	others.Sign(t, both)
	others.SignLegacy(t, both)
	ours.SignLegacy(t, both)
	s.expect("unsigned", trust, unsigned, "no matching signatures were found for '"+unsigned.Repository+"@"+unsigned.Digest+"'; it has no signature")
	s.expect("bundle", trust, bundled, verify.Verified)
	s.expect("legacy", trust, legacy, verify.Verified)
	s.expect("by another key", trust, foreign, "no matching signatures were found for '"+foreign.Repository)
	s.expect("by another key and ours", trust, both, verify.Verified)
}

// TestMovedSignatures attaches good signatures to what they were not made for.
func TestMovedSignatures(t *testing.T) {
	t.Parallel()
	s := newShelf(t, registrytest.Options{})
	key, instance := verifytest.NewKey(t), verifytest.NewInstance(t)
	good, bad := s.push("good"), s.push("bad")
	key.SignPayload(t, bad, good.Payload(t))
	instance.Attest(t, bad, good.Statement(), subject, issuer)
	s.expect("payload of another digest", must[verify.Verifier](t)(verify.Keys("s", map[string][]byte{"a.pub": key.PEM})), bad, "it is of the digest '"+good.Digest+"'")
	root := must[verify.Root](t)(verify.TrustedRoot("s", map[string][]byte{"trusted_root.json": instance.TrustedRoot(t, false)}))
	s.expect("statement of another digest", must[verify.Verifier](t)(verify.Keyless(nil, root)), bad, "digest")
}

func TestKeyless(t *testing.T) {
	t.Parallel()
	s := newShelf(t, registrytest.Options{})
	instance, stranger := verifytest.NewInstance(t), verifytest.NewInstance(t)
	root := func(i *verifytest.Instance, transparent bool) verify.Root {
		return must[verify.Root](t)(verify.TrustedRoot("apps/root", map[string][]byte{"trusted_root.json": i.TrustedRoot(t, transparent)}))
	}
	trust := func(r verify.Root, ids ...verify.Identity) verify.Verifier {
		return must[verify.Verifier](t)(verify.Keyless(ids, r))
	}
	bundled, legacy, searched, keyed := s.push("1"), s.push("2"), s.push("3"), s.push("4")
	instance.Sign(t, bundled, subject, issuer)
	instance.SignLegacy(t, legacy, subject, issuer, true)
	instance.SignLegacy(t, searched, subject, issuer, false)
	verifytest.NewKey(t).SignLegacy(t, keyed)
	verifytest.NewKey(t).Sign(t, keyed)
	for what, signed := range map[string]verifytest.Target{"bundle": bundled, "legacy": legacy, "legacy without proof": searched} {
		s.expect(what+": anybody", trust(root(instance, false)), signed, verify.Verified)
		s.expect(what+": by identity", trust(root(instance, false),
			verify.Identity{Issuer: "^https://other$", Subject: ".*"},
			verify.Identity{Issuer: "^https://token.actions.githubusercontent.com$", Subject: "^https://github.com/example/fleet.*$"},
		), signed, verify.Verified)
		s.expect(what+": another subject", trust(root(instance, false), verify.Identity{Issuer: ".*", Subject: "^https://github.com/evil/.*$"}), signed, "no matching signatures")
		s.expect(what+": another issuer", trust(root(instance, false), verify.Identity{Issuer: "^https://evil$", Subject: ".*"}), signed, "no matching signatures")
		s.expect(what+": another instance", trust(root(stranger, false)), signed, "no matching signatures")
		s.expect(what+": certificate in no log", trust(root(instance, true)), signed, "signed certificate timestamp")
	}
	s.expect("signed with a key", trust(root(instance, false)), keyed, "no matching signatures")
	s.expect("identity by key", must[verify.Verifier](t)(verify.Keys("s", map[string][]byte{"a.pub": verifytest.NewKey(t).PEM})), bundled, "expected key signature, not certificate")
}

func TestNotation(t *testing.T) {
	t.Parallel()
	s := newShelf(t, registrytest.Options{})
	ours, others := verifytest.NewSigner(t, "release"), verifytest.NewSigner(t, "stranger")
	trust := func(level, identity string) verify.Verifier {
		return must[verify.Verifier](t)(verify.Notation("apps/notation", map[string][]byte{
			"trustpolicy.json": verifytest.Policy(level, identity), "ca.crt": ours.PEM,
		}))
	}
	unsigned, signed, binary, foreign := s.push("1"), s.push("2"), s.push("3"), s.push("4")
	ours.Sign(t, signed, jws)
	ours.Sign(t, binary, cose)
	others.Sign(t, foreign, jws)
	s.expect("strict", trust("strict", "*"), signed, verify.Verified)
	s.expect("cose", trust("strict", "*"), binary, verify.Verified)
	s.expect("by name", trust("strict", "x509.subject: C=DE, ST=BE, O=Tests, CN=release"), signed, verify.Verified)
	s.expect("by another name", trust("strict", "x509.subject: C=DE, ST=BE, O=Tests, CN=other"), signed, "no matching signatures")
	s.expect("unsigned", trust("strict", "*"), unsigned, "it has no signature")
	s.expect("stranger", trust("strict", "*"), foreign, "no matching signatures")
	s.expect("stranger, permissive", trust("permissive", "*"), foreign, "no matching signatures")
	s.expect("stranger, audit", trust("audit", "*"), foreign, verify.Ignored)
	s.expect("skip", trust("skip", ""), unsigned, verify.Ignored)
	s.expect("signed, audit", trust("audit", "*"), signed, verify.Verified)
}

// TestRealRegistry does it on the CNCF's distribution, which lists referrers in a tag.
func TestRealRegistry(t *testing.T) {
	t.Parallel()
	s := openShelf(t, registrytest.Sandbox(t), "verify-"+strings.ToLower(t.Name()))
	key, instance, signer := verifytest.NewKey(t), verifytest.NewInstance(t), verifytest.NewSigner(t, "release")
	g := s.push(time.Now().String())
	byKey := must[verify.Verifier](t)(verify.Keys("s", map[string][]byte{"a.pub": key.PEM}))
	s.expect("before", byKey, g, "it has no signature")
	key.Sign(t, g)
	instance.Sign(t, g, subject, issuer)
	signer.Sign(t, g, jws)
	root := must[verify.Root](t)(verify.TrustedRoot("s", map[string][]byte{"trusted_root.json": instance.TrustedRoot(t, false)}))
	s.expect("key", byKey, g, verify.Verified)
	s.expect("keyless", must[verify.Verifier](t)(verify.Keyless(nil, root)), g, verify.Verified)
	s.expect("notation", must[verify.Verifier](t)(verify.Notation("s", map[string][]byte{
		"trustpolicy.json": verifytest.Policy("strict", "*"), "ca.pem": signer.PEM,
	})), g, verify.Verified)
}

// TestRegistryErrors tells a registry that fails from an artifact without signatures.
func TestRegistryErrors(t *testing.T) {
	t.Parallel()
	broken := false
	s := newShelf(t, registrytest.Options{Wrap: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if broken && r.Method == http.MethodGet {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			h.ServeHTTP(w, r)
		})
	}})
	g := s.push("1")
	broken = true
	for _, v := range []verify.Verifier{
		must[verify.Verifier](t)(verify.Keys("s", map[string][]byte{"a.pub": verifytest.NewKey(t).PEM})),
		must[verify.Verifier](t)(verify.Notation("s", map[string][]byte{
			"trustpolicy.json": verifytest.Policy("strict", "*"), "ca.crt": verifytest.NewSigner(t, "x").PEM,
		})),
	} {
		if _, err := v.Verify(context.Background(), s.repo, g.Digest); err == nil || errors.Is(err, verify.ErrUnsigned) || !strings.Contains(err.Error(), "500") {
			t.Errorf("%s: %v", v.Name(), err)
		}
	}
}

func TestBadTrust(t *testing.T) {
	t.Parallel()
	data := func(pairs ...string) map[string][]byte {
		out := map[string][]byte{}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i]] = []byte(pairs[i+1])
		}
		return out
	}
	for want, make := range map[string]func() error{
		"the Secret 'a/b' has no public key: its name must end in '.pub'": func() error { _, err := verify.Keys("a/b", data("key", "x")); return err },
		"'x.pub' of the Secret 'a/b' is not a public key in PEM":          func() error { _, err := verify.Keys("a/b", data("x.pub", "canary-secret")); return err },
		"the Secret 'a/b' has no 'trusted_root.json'":                     func() error { _, err := verify.TrustedRoot("a/b", nil); return err },
		"is not a trusted root of Sigstore":                               func() error { _, err := verify.TrustedRoot("a/b", data("trusted_root.json", "{")); return err },
		"names no certificate authority": func() error {
			_, err := verify.TrustedRoot("a/b", data("trusted_root.json", `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`))
			return err
		},
		"matchOIDCIdentity[0].subject":               func() error { _, err := verify.Keyless([]verify.Identity{{Subject: "("}}, nil); return err },
		"matchOIDCIdentity[0].issuer":                func() error { _, err := verify.Keyless([]verify.Identity{{Issuer: "("}}, nil); return err },
		"the Secret 'a/b' has no 'trustpolicy.json'": func() error { _, err := verify.Notation("a/b", nil); return err },
		"'trustpolicy.json' of the Secret 'a/b'":     func() error { _, err := verify.Notation("a/b", data("trustpolicy.json", "{")); return err },
		"the Secret 'a/b' has no certificate": func() error {
			_, err := verify.Notation("a/b", data("trustpolicy.json", string(verifytest.Policy("strict", "*"))))
			return err
		},
		"'ca.crt' of the Secret 'a/b' does not hold": func() error {
			_, err := verify.Notation("a/b", data("trustpolicy.json", string(verifytest.Policy("strict", "*")), "ca.crt", "canary-secret"))
			return err
		},
	} {
		err := make()
		if !errors.Is(err, verify.ErrTrust) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
