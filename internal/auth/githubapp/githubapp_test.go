package githubapp_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/auth/githubapp"
)

// gitHub answers as GitHub's REST API documents: installation tokens, and installations by owner.
type gitHub struct {
	*httptest.Server
	key    *rsa.PrivateKey
	tokens atomic.Int32
	asked  atomic.Int32
}

func newGitHub(t *testing.T) *gitHub {
	t.Helper()
	g := &gitHub{}
	var err error
	if g.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v3/app/installations/77/access_tokens", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"token":"ghs_%d","expires_at":%q,"permissions":{"contents":"read"}}`, g.tokens.Add(1), time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	})
	mux.HandleFunc("GET /api/v3/orgs/acme/installation", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"id":77}`) })
	mux.HandleFunc("GET /api/v3/users/jo/installation", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"id":77}`) })
	mux.HandleFunc("POST /api/v3/app/installations/88/access_tokens", func(w http.ResponseWriter, _ *http.Request) {
		http.Redirect(w, httptest.NewRequest("GET", "/", nil), "http://elsewhere.example/", http.StatusTemporaryRedirect)
	})
	g.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.asked.Add(1)
		if err := g.authenticate(r); err != nil {
			http.Error(w, `{"message":"`+err.Error()+`"}`, http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

func (g *gitHub) authenticate(r *http.Request) error {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	parts := strings.Split(token, ".")
	if len(parts) != 3 || r.Header.Get("Accept") != "application/vnd.github+json" || r.Header.Get("X-GitHub-Api-Version") == "" {
		return errors.New("headers")
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&g.key.PublicKey, crypto.SHA256, sum[:], sig); err != nil {
		return err
	}
	var claims struct {
		Iat, Exp int64
		Iss      string
	}
	data, _ := base64.RawURLEncoding.DecodeString(parts[1])
	if err := json.Unmarshal(data, &claims); err != nil {
		return err
	}
	now := time.Now().Unix()
	if claims.Iss != "12345" || claims.Iat > now || claims.Exp <= now || claims.Exp-claims.Iat > 600 {
		return fmt.Errorf("claims %+v", claims)
	}
	return nil
}

func (g *gitHub) secret(change map[string]string) map[string][]byte {
	data := map[string][]byte{
		"githubAppID": []byte("12345"), "githubAppBaseURL": []byte(g.URL + "/api/v3/"),
		"githubAppPrivateKey": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(g.key)}),
		"ca.crt":              pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: g.Certificate().Raw}),
	}
	for k, v := range change {
		data[k] = []byte(v)
	}
	return data
}

func (g *gitHub) app(t *testing.T, change map[string]string) githubapp.App {
	t.Helper()
	a, err := githubapp.Read("ns/app", g.secret(change))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTokens(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	tokens := githubapp.NewTokens(githubapp.Options{})
	byID := g.app(t, map[string]string{"githubAppInstallationID": "77"})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			got, err := tokens.Get(context.Background(), byID)
			left := time.Until(got.Until)
			if err != nil || got.Value != "ghs_1" || left > 48*time.Minute || left < 47*time.Minute {
				t.Errorf("token %+v, %v", got, err)
			}
		})
	}
	wg.Wait()
	if n := g.asked.Load(); n != 1 {
		t.Errorf("twenty asked GitHub %d times", n)
	}
	for i, owner := range []string{"acme", "jo"} { // An organisation, and a user, who is none.
		got, err := tokens.Get(context.Background(), g.app(t, map[string]string{"githubAppInstallationOwner": owner}))
		if want := fmt.Sprintf("ghs_%d", i+2); err != nil || got.Value != want {
			t.Errorf("%s: %+v, %v", owner, got, err)
		}
	}
}

func TestTokensAge(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	a := g.app(t, map[string]string{"githubAppInstallationID": "77"})
	for reason, o := range map[string]githubapp.Options{
		"too old":      {MaxAge: time.Nanosecond},
		"none is kept": {Size: -1},
	} {
		tokens := githubapp.NewTokens(o)
		first, err := tokens.Get(context.Background(), a)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := tokens.Get(context.Background(), a); err != nil || first.Value == second.Value {
			t.Errorf("%s: %+v again, %v", reason, second, err)
		}
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	g, other := newGitHub(t), newGitHub(t)
	for reason, change := range map[string]map[string]string{
		"a key that is not the App's": {"githubAppInstallationID": "77", "githubAppPrivateKey": string(other.secret(nil)["githubAppPrivateKey"])},
		"another App":                 {"githubAppInstallationID": "77", "githubAppID": "54321"},
		"no such installation":        {"githubAppInstallationID": "99"},
		"no such owner":               {"githubAppInstallationOwner": "nobody"},
	} {
		if got, err := githubapp.NewTokens(githubapp.Options{}).Get(context.Background(), g.app(t, change)); !errors.Is(err, githubapp.ErrRefused) {
			t.Errorf("%s: %+v, %v", reason, got, err)
		}
	}
	if _, err := githubapp.NewTokens(githubapp.Options{}).Get(context.Background(), g.app(t, map[string]string{"githubAppInstallationID": "88"})); err == nil || !strings.Contains(err.Error(), "307") {
		t.Errorf("a redirect: %v", err)
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	g := newGitHub(t)
	exactlyOne := "secret 'ns/app' must contain exactly one of 'githubAppInstallationOwner' or 'githubAppInstallationID'"
	for reason, tc := range map[string]struct {
		change map[string]string
		want   string
	}{
		"neither id nor owner": {nil, exactlyOne},
		"both":                 {map[string]string{"githubAppInstallationID": "1", "githubAppInstallationOwner": "acme"}, exactlyOne},
		"no number":            {map[string]string{"githubAppInstallationID": "1/../2"}, "secret 'ns/app' must contain a number in 'githubAppInstallationID'"},
		"no App":               {map[string]string{"githubAppInstallationID": "1", "githubAppID": ""}, "secret 'ns/app' must contain a number in 'githubAppID'"},
		"no key":               {map[string]string{"githubAppInstallationID": "1", "githubAppPrivateKey": "secret words"}, "secret 'ns/app' must contain an RSA private key in PEM format in 'githubAppPrivateKey'"},
		"no address":           {map[string]string{"githubAppInstallationID": "1", "githubAppBaseURL": "file:///x"}, "secret 'ns/app' must contain the address of an API, such as https://HOST/api/v3, in 'githubAppBaseURL'"},
	} {
		if _, err := githubapp.Read("ns/app", g.secret(tc.change)); err == nil || err.Error() != tc.want {
			t.Errorf("%s: %v, want %s", reason, err, tc.want)
		}
	}
	if githubapp.Described(map[string][]byte{"username": nil}) || !githubapp.Described(g.secret(nil)) {
		t.Error("what describes an App")
	}
	one, two := g.app(t, map[string]string{"githubAppInstallationID": "1"}), g.app(t, map[string]string{"githubAppInstallationID": "2"})
	if one.Principal() == two.Principal() || one.Principal() != g.app(t, map[string]string{"githubAppInstallationID": "1"}).Principal() {
		t.Error("principals")
	}
}
