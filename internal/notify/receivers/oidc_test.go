package receivers

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
)

const (
	googleEmail    = "push@project.iam.gserviceaccount.com"
	googleAudience = "https://flux.example.com/hook"
)

// nowhere is a network without anybody.
type nowhere struct{}

func (nowhere) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("no network") }

// google is an issuer of tokens that the tests run.
type google struct {
	server *httptest.Server
	oidc   *OIDC
	key    *rsa.PrivateKey
	asked  atomic.Int32
}

func newGoogle(t *testing.T) *google {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	g := &google{key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		g.asked.Add(1)
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": g.server.URL, "jwks_uri": g.server.URL + "/keys", "authorization_endpoint": g.server.URL, "token_endpoint": g.server.URL,
			"id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	g.server = httptest.NewServer(mux)
	t.Cleanup(g.server.Close)
	g.oidc = NewOIDC(http.DefaultTransport)
	g.oidc.google = g.server.URL + "/keys"
	return g
}

// token makes one; change replaces claims, nil values remove them.
func (g *google) token(change map[string]any) string {
	claims := map[string]any{
		"iss": g.server.URL, "aud": googleAudience, "email": googleEmail, "email_verified": true, "sub": "1",
		"iat": time.Now().Add(-time.Minute).Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	if change == nil {
		claims["iss"] = googleIssuer
	}
	maps.Copy(claims, change)
	for k, v := range claims {
		if v == nil {
			delete(claims, k)
		}
	}
	return g.signed(g.key, jose.RS256, claims)
}

func (g *google) signed(key any, algorithm jose.SignatureAlgorithm, claims map[string]any) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k"))
	if err != nil {
		panic(err)
	}
	payload, _ := json.Marshal(claims)
	object, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	text, _ := object.CompactSerialize()
	return text
}

// Every claim that may be wrong is, one at a time.
func TestMutatedClaims(t *testing.T) {
	t.Parallel()
	g := newGoogle(t)
	past, future := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
	other, _ := rsa.GenerateKey(rand.Reader, 2048)
	mutations := map[string]map[string]any{
		"another audience": {"aud": "other"}, "no audience": {"aud": nil}, "an empty audience": {"aud": ""}, "another issuer": {"iss": "https://evil.example.com"},
		"no issuer": {"iss": nil}, "an issuer that begins alike": {"iss": googleIssuer + ".evil.com"}, "expired": {"exp": past}, "no expiry": {"exp": nil},
		"another e-mail": {"email": "mallory@example.com"}, "no e-mail": {"email": nil},
	}
	onlyGoogle := map[string]map[string]any{
		"an e-mail that is not verified": {"email_verified": false}, "no word on verification": {"email_verified": nil}, "verification as text": {"email_verified": "true"},
	}
	for _, name := range []string{"gcr", "generic-oidc"} {
		good := map[string]any{"iss": "accounts.google.com"}
		if name == "generic-oidc" {
			good = map[string]any{"aud": defaultAudience}
		}
		v := calls(g)[name]
		try := func(token string) error {
			c := v.call(name, g)
			c.Header.Set("Authorization", "Bearer "+token)
			_, err := Accept(t.Context(), g.oidc, c)
			return err
		}
		if err := try(g.token(good)); err != nil {
			t.Errorf("%s: a good token is refused: %v", name, err)
		}
		all := maps.Clone(mutations)
		if name == "gcr" {
			maps.Copy(all, onlyGoogle)
		}
		for reason, change := range all {
			claims := maps.Clone(good)
			maps.Copy(claims, change)
			if err := try(g.token(claims)); err == nil {
				t.Errorf("%s: %s is accepted", name, reason)
			}
		}
		claims := map[string]any{"iss": g.server.URL, "aud": googleAudience, "email": googleEmail, "email_verified": true, "exp": future}
		maps.Copy(claims, good)
		if err := try(g.signed(other, jose.RS256, claims)); err == nil {
			t.Errorf("%s: another key is accepted", name)
		}
		if err := try(g.signed([]byte(strings.Repeat("k", 32)), jose.HS256, claims)); err == nil {
			t.Errorf("%s: a symmetric key is accepted", name)
		}
		for _, text := range []string{"x", "a.b.c", "..", strings.Repeat("a", maxToken+1)} {
			if err := try(text); err == nil {
				t.Errorf("%s: %.10q is accepted", name, text)
			}
		}
	}
}

func TestKeysAreNotAskedForEveryCall(t *testing.T) {
	t.Parallel()
	g := newGoogle(t)
	other, _ := rsa.GenerateKey(rand.Reader, 2048)
	v := calls(g)["generic-oidc"]
	for range 100 {
		c := v.call("generic-oidc", g)
		c.Header.Set("Authorization", "Bearer "+g.signed(other, jose.RS256, map[string]any{"iss": g.server.URL, "aud": defaultAudience, "exp": time.Now().Add(time.Hour).Unix()}))
		_, _ = Accept(t.Context(), g.oidc, c)
	}
	if n := g.asked.Load(); n > 30 {
		t.Errorf("100 bad tokens made us ask the issuer %d times", n)
	}
}

func TestValidations(t *testing.T) {
	t.Parallel()
	p := notificationv1.OIDCProvider{
		Variables: []notificationv1.OIDCVariable{{Name: "parts", Expression: "claims.sub.split(':')"}, {Name: "repo", Expression: "vars.parts[1]"}},
		Validations: []notificationv1.OIDCValidation{
			{Expression: "vars.repo == 'org/app'", Message: "not our repository"}, {Expression: "claims.ref == 'main'", Message: "not main"},
		},
	}
	for _, tt := range []struct {
		reason, want string
		claims       map[string]any
	}{
		{"all hold", "", map[string]any{"sub": "repo:org/app", "ref": "main"}},
		{"all that fail are named", "token validation failed: not our repository; not main", map[string]any{"sub": "repo:x", "ref": "dev"}},
	} {
		err := validate(t.Context(), p, tt.claims)
		if (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
			t.Errorf("%s: %v", tt.reason, err)
		}
	}
	for reason, claims := range map[string]map[string]any{"a missing claim": {"sub": "repo:org/app"}, "a claim of another type": {"sub": 7}, "no claims": {}} {
		if err := validate(t.Context(), p, claims); err == nil {
			t.Errorf("%s passes", reason)
		}
	}
}
