package githubapp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gitops-toolkit/flux/internal/auth/tokens"
)

// ErrRefused is wrapped when GitHub refuses the App, or knows no such installation.
var ErrRefused = errors.New("the GitHub App was refused")

// Token is an access token.
type Token struct {
	Value string
	// Until is when a new one should be asked for, well before the token ends.
	Until time.Time
}

// Options of Tokens: those of the cache. The zero value is fit for use.
type Options tokens.Options

// Tokens gets tokens and keeps them. It is safe for concurrent use.
type Tokens struct {
	now   func() time.Time
	cache *tokens.Cache[string]
}

// NewTokens returns an empty cache.
func NewTokens(o Options) *Tokens {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Tokens{now: o.Now, cache: tokens.New[string](tokens.Options(o))}
}

// Get returns a token of the App's installation: one that is kept, or a new one.
func (t *Tokens) Get(ctx context.Context, a App) (Token, error) {
	value, until, err := t.cache.Get(ctx, a.Principal(), func(ctx context.Context) (string, time.Time, error) { return t.ask(ctx, a) })
	return Token{Value: value, Until: until}, err
}

// ask gets a new token, and when it ends.
func (t *Tokens) ask(ctx context.Context, a App) (token string, ends time.Time, err error) {
	api, err := newAPI(a, t.now())
	if err != nil {
		return "", ends, fmt.Errorf("GitHub App %s: %w", a.id, err)
	}
	defer api.close()
	installation := a.installation
	if installation == "" {
		if installation, err = api.find(ctx, a.owner); err != nil {
			return "", ends, fmt.Errorf("GitHub App %s: installation of '%s': %w", a.id, a.owner, err)
		}
	}
	var got struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	path := "/app/installations/" + url.PathEscape(installation) + "/access_tokens"
	if err := api.call(ctx, http.MethodPost, path, http.StatusCreated, &got); err != nil {
		return "", ends, fmt.Errorf("GitHub App %s: token of installation %s: %w", a.id, installation, err)
	}
	if got.Token == "" {
		return "", ends, fmt.Errorf("GitHub App %s: token of installation %s: the answer holds none", a.id, installation)
	}
	return got.Token, got.ExpiresAt, nil
}

// api is GitHub's API with the App's own token.
type api struct {
	base   *url.URL
	jwt    string
	client Client
	close  func()
}

func newAPI(a App, now time.Time) (*api, error) {
	jwt, err := a.assertion(now)
	if err != nil {
		return nil, err
	}
	if a.Client != nil {
		return &api{base: a.base, jwt: jwt, client: a.Client, close: func() {}}, nil
	}
	config, err := a.TLS.Config()
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true,
		DialContext:         (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: 30 * time.Second, ResponseHeaderTimeout: 30 * time.Second, MaxResponseHeaderBytes: 256 << 10,
	}
	if a.Proxy != nil {
		transport.Proxy = http.ProxyURL(a.Proxy)
	}
	client := &http.Client{Transport: transport, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // The App's token is for this host alone.
	}}
	return &api{base: a.base, jwt: jwt, client: client, close: client.CloseIdleConnections}, nil
}

// find looks up the installation of an organisation, or of a user.
func (a *api) find(ctx context.Context, owner string) (string, error) {
	var found struct {
		ID json.Number `json:"id"`
	}
	err := a.call(ctx, http.MethodGet, "/orgs/"+url.PathEscape(owner)+"/installation", http.StatusOK, &found)
	if isStatus(err, http.StatusNotFound) {
		err = a.call(ctx, http.MethodGet, "/users/"+url.PathEscape(owner)+"/installation", http.StatusOK, &found)
	}
	return found.ID.String(), err
}

// status is an answer that was not expected.
type status int

func (s status) Error() string {
	return fmt.Sprintf("the API answers %d %s", int(s), http.StatusText(int(s)))
}

func isStatus(err error, code int) bool {
	var s status
	return errors.As(err, &s) && int(s) == code
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

func (a *api) call(ctx context.Context, method, path string, want int, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, a.base.String()+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.jwt)
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	resp, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case want, http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity:
		return fmt.Errorf("%w: %w", ErrRefused, status(resp.StatusCode))
	default:
		return status(resp.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("the answer of the API is not what GitHub documents: %w", err)
	}
	return nil
}

// Login is the name under which the App writes: that of its page, with [bot].
func (t *Tokens) Login(ctx context.Context, a App) (string, error) {
	api, err := newAPI(a, t.now())
	if err != nil {
		return "", fmt.Errorf("GitHub App %s: %w", a.id, err)
	}
	defer api.close()
	var app struct {
		Slug string `json:"slug"`
	}
	if err := api.call(ctx, http.MethodGet, "/app", http.StatusOK, &app); err != nil {
		return "", fmt.Errorf("GitHub App %s: %w", a.id, err)
	}
	return app.Slug + "[bot]", nil
}
