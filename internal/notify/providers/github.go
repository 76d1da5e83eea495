package providers

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

func init() {
	registerStatus("github", states{success: "success", failure: "failure"}, func(c *Config) (statusHost, error) { return newGitHub(c) })
}

// gitHub is a repository at github.com or at an enterprise server.
type gitHub struct {
	*Config
	api, owner, name string
	token            string
	app              *gitHubApp
}

func newGitHub(c *Config) (*gitHub, error) {
	at, err := gitAddress(c)
	if err != nil {
		return nil, err
	}
	g := &gitHub{Config: c, api: gitHubAPI(at)}
	if g.owner, g.name, err = at.ownerAndName(); err != nil {
		return nil, err
	}
	if g.app, err = newGitHubApp(c, g.api, g.owner); err != nil || g.app != nil {
		return g, err
	}
	g.token, err = c.secret()
	if err != nil {
		return nil, errors.New(c.Provider.Spec.Type + " needs a token or a GitHub App: set the key 'token', or githubAppID, githubAppPrivateKey and the installation, in the Secret of secretRef")
	}
	return g, nil
}

func gitHubAPI(at repository) string {
	if at.host == "github.com" {
		return "https://api.github.com"
	}
	return at.base() + "/api/v3"
}

// repo is the address of something in the repository.
func (g *gitHub) repo(parts ...string) string {
	return g.api + "/repos/" + url.PathEscape(g.owner) + "/" + url.PathEscape(g.name) + "/" + strings.Join(parts, "/")
}

func (g *gitHub) authorize(ctx context.Context) (http.Header, error) {
	token := g.token
	if g.app != nil {
		var err error
		if token, err = g.app.token(ctx); err != nil {
			return nil, err
		}
	}
	return header("Authorization", "Bearer "+token, "Accept", "application/vnd.github+json", "X-GitHub-Api-Version", "2022-11-28"), nil
}

func (g *gitHub) current(ctx context.Context, commit string, s status) (state, description string, found bool, err error) {
	auth, err := g.authorize(ctx)
	if err != nil {
		return "", "", false, err
	}
	var list []struct{ State, Description, Context string }
	if _, err := g.getJSON(ctx, g.repo("commits", commit, "statuses")+"?per_page=100", auth, &list); err != nil {
		return "", "", false, err
	}
	for _, one := range list { // the newest first
		if one.Context == s.ID {
			return one.State, one.Description, true, nil
		}
	}
	return "", "", false, nil
}

func (g *gitHub) write(ctx context.Context, commit string, s status) error {
	auth, err := g.authorize(ctx)
	if err != nil {
		return err
	}
	_, err = g.postJSON(ctx, g.repo("statuses", commit), map[string]string{"state": s.State, "context": s.ID, "description": s.Description}, auth)
	return err
}
