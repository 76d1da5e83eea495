package providers

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"github.com/gitops-toolkit/flux/internal/auth/githubapp"
)

// gitHubApp gets tokens of an installation, and keeps each until well before it ends.
type gitHubApp struct {
	app    githubapp.App
	tokens *githubapp.Tokens
}

// newGitHubApp returns nil when the Secret describes no App. What the Secret leaves out is taken from the address of the
// repository: the API, and whose installation it is.
func newGitHubApp(c *Config, api, owner string) (*gitHubApp, error) {
	if text(c.Secret[githubapp.KeyAppID]) == "" {
		return nil, nil
	}
	app, err := githubapp.ReadOr(c.Provider.Namespace+"/"+c.Provider.Spec.SecretRef.Name, c.Secret, githubapp.Or{BaseURL: api, Owner: owner})
	if err != nil {
		return nil, err
	}
	app.Client = appClient{c}
	return &gitHubApp{app, githubapp.NewTokens(githubapp.Options{})}, nil
}

func (a *gitHubApp) token(ctx context.Context) (string, error) {
	t, err := a.tokens.Get(ctx, a.app)
	return t.Value, err
}

// login is the name under which the App writes.
func (a *gitHubApp) login(ctx context.Context) (string, error) { return a.tokens.Login(ctx, a.app) }

// appClient sends the App's requests as all others of the Provider are sent, and tells which failures may pass.
type appClient struct{ *Config }

// Do sends a request. An answer that is no success is an error with what the service says, but for 404, which tells
// where the App is not installed.
func (c appClient) Do(req *http.Request) (*http.Response, error) {
	resp, err := c.HTTP.Do(req)
	if err != nil {
		return nil, unreachable(err)
	}
	if resp.StatusCode/100 == 2 || resp.StatusCode == http.StatusNotFound {
		return resp, nil
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	var body bytes.Buffer
	_, _ = io.Copy(&body, io.LimitReader(resp.Body, maxShown))
	return nil, answered(resp.StatusCode, resp.Header, body.Bytes())
}
