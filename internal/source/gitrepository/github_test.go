package gitrepository_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// TestGitHubApp logs in with the token of an installation, which is asked for once and shared.
func TestGitHubApp(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{Users: map[string]string{"x-access-token": "ghs_t0ken"}})
	l.start()
	tip, err := l.repo.Resolve("main")
	l.Must(err)
	var asked atomic.Int32
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Method != http.MethodPost || r.URL.Path != "/api/v3/app/installations/77/access_tokens" {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"token":"ghs_t0ken","expires_at":%q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(api.Close)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	l.Must(err)
	app := map[string]string{
		"githubAppID": "1", "githubAppInstallationID": "77", "githubAppBaseURL": api.URL + "/api/v3",
		"githubAppPrivateKey": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	}
	l.secret("app", nil, app)
	l.secret("basic", nil, map[string]string{"username": "jo", "password": "x"})
	app["githubAppInstallationOwner"] = "acme"
	l.secret("both", nil, app)
	create := func(name, provider, secret string) {
		l.create(name, func(o *sourcev1.GitRepository) {
			o.Spec.Provider = provider
			if secret != "" {
				o.Spec.SecretRef = &meta.LocalObjectReference{Name: secret}
			}
		})
	}
	create("one", "github", "app")
	create("two", "github", "app")
	l.ready("one", "main@sha1:"+tip)
	l.ready("two", "main@sha1:"+tip)
	if n := asked.Load(); n != 1 {
		t.Errorf("GitHub was asked %d times", n)
	}
	noApp := "secretRef with github app data must be specified when provider is set to github"
	for _, tc := range []struct{ name, provider, secret, reason, message string }{
		{"no-secret", "github", "", "InvalidProviderConfiguration", noApp},
		{"other-secret", "github", "basic", "InvalidProviderConfiguration", noApp},
		{"no-provider", "", "app", "InvalidProviderConfiguration", "secretRef '" + l.Namespace + "/app' has github app data but provider is not set to github"},
		{"contradiction", "github", "both", "AuthenticationFailed", "secret '" + l.Namespace + "/both' must contain exactly one of 'githubAppInstallationOwner' or 'githubAppInstallationID'"},
	} {
		create(tc.name, tc.provider, tc.secret)
		obj, message := l.failed(tc.name, tc.reason)
		if stalled := obj.Status.Conditions.Get("Stalled") != nil; message != tc.message || stalled != (tc.secret == "") {
			t.Errorf("%s: %q, stalled %t", tc.name, message, stalled)
		}
	}
}
