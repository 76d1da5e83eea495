package providers

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
	"net/url"
	"strings"
	"sync"
	"time"
)

// Keys of a Secret with a GitHub App.
const (
	keyAppID    = "githubAppID"
	keyAppOwner = "githubAppInstallationOwner"
	keyAppInst  = "githubAppInstallationID"
	keyAppKey   = "githubAppPrivateKey"
	keyAppBase  = "githubAppBaseURL"
)

// gitHubApp gets tokens of an installation and keeps each until shortly before it ends.
type gitHubApp struct {
	*Config
	api, id, owner string
	key            *rsa.PrivateKey

	mu           sync.Mutex
	installation string
	current      string
	ends         time.Time
}

// newGitHubApp returns nil when the Secret describes no App.
func newGitHubApp(c *Config, api, owner string) (*gitHubApp, error) {
	id := text(c.Secret[keyAppID])
	if id == "" {
		return nil, nil
	}
	block, _ := pem.Decode(c.Secret[keyAppKey])
	if block == nil {
		return nil, errors.New("the Secret's key 'githubAppPrivateKey' holds no key in PEM format")
	}
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("the Secret's key 'githubAppPrivateKey' holds no RSA key")
		}
		var ok bool
		if key, ok = any.(*rsa.PrivateKey); !ok {
			return nil, errors.New("the Secret's key 'githubAppPrivateKey' holds no RSA key")
		}
	}
	a := &gitHubApp{Config: c, api: api, id: id, owner: owner, key: key, installation: text(c.Secret[keyAppInst])}
	if v := text(c.Secret[keyAppOwner]); v != "" {
		a.owner = v
	}
	if v := text(c.Secret[keyAppBase]); v != "" {
		a.api = strings.TrimSuffix(v, "/")
	}
	return a, nil
}

// assertion is the App's own login: a JWT that lives for some minutes.
func (a *gitHubApp) assertion(now time.Time) (http.Header, error) {
	token, err := signRS256(a.key, nil, map[string]any{"iat": now.Add(-time.Minute).Unix(), "exp": now.Add(9 * time.Minute).Unix(), "iss": a.id})
	if err != nil {
		return nil, err
	}
	return header("Authorization", "Bearer "+token, "Accept", "application/vnd.github+json", "X-GitHub-Api-Version", "2022-11-28"), nil
}

// signRS256 makes a JSON Web Token.
func signRS256(key *rsa.PrivateKey, extra map[string]any, claims map[string]any) (string, error) {
	head := map[string]any{"alg": "RS256", "typ": "JWT"}
	for k, v := range extra {
		head[k] = v
	}
	var parts []string
	for _, part := range []any{head, claims} {
		data, err := json.Marshal(part)
		if err != nil {
			return "", err
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(data))
	}
	signed := strings.Join(parts, ".")
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", errors.New("the private key cannot sign")
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// token returns one that is valid for another minute at least.
func (a *gitHubApp) token(ctx context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Until(a.ends) > time.Minute {
		return a.current, nil
	}
	auth, err := a.assertion(time.Now())
	if err != nil {
		return "", err
	}
	if a.installation == "" {
		if a.installation, err = a.find(ctx, auth); err != nil {
			return "", err
		}
	}
	answer, err := a.postJSON(ctx, a.api+"/app/installations/"+url.PathEscape(a.installation)+"/access_tokens", struct{}{}, auth)
	if err != nil {
		return "", fmt.Errorf("get a token of the GitHub App: %w", err)
	}
	var token struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	if err := json.Unmarshal(answer, &token); err != nil || token.Token == "" {
		return "", refused("get a token of the GitHub App: the answer holds none")
	}
	a.current, a.ends = token.Token, token.ExpiresAt
	return a.current, nil
}

// find looks up the installation of an organisation or user.
func (a *gitHubApp) find(ctx context.Context, auth http.Header) (string, error) {
	for _, what := range []string{"orgs", "users"} {
		var found struct {
			ID json.Number `json:"id"`
		}
		ok, err := a.getJSON(ctx, a.api+"/"+what+"/"+url.PathEscape(a.owner)+"/installation", auth, &found)
		if err != nil {
			return "", fmt.Errorf("find the installation of the GitHub App: %w", err)
		}
		if ok {
			return found.ID.String(), nil
		}
	}
	return "", refused("the GitHub App is not installed for %q: install it, or set githubAppInstallationID", a.owner)
}

// login is the name under which the App writes.
func (a *gitHubApp) login(ctx context.Context) (string, error) {
	auth, err := a.assertion(time.Now())
	if err != nil {
		return "", err
	}
	var app struct{ Slug string }
	if _, err := a.getJSON(ctx, a.api+"/app", auth, &app); err != nil {
		return "", err
	}
	return app.Slug + "[bot]", nil
}
