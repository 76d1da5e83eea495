package providers

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

func init() {
	registerStatus("gitea", states{success: "success", failure: "failure", pending: "pending"}, func(c *Config) (statusHost, error) { return newGitea(c) })
}

// gitea is a repository at a server of Gitea or Forgejo.
type gitea struct {
	*Config
	api, owner, name string
	auth             http.Header
}

func newGitea(c *Config) (*gitea, error) {
	at, err := gitAddress(c)
	if err != nil {
		return nil, err
	}
	g := &gitea{Config: c, api: at.base() + "/api/v1"}
	if g.owner, g.name, err = at.ownerAndName(); err != nil {
		return nil, err
	}
	token, err := c.secret()
	if err != nil {
		return nil, err
	}
	g.auth = header("Authorization", "token "+token)
	return g, nil
}

func (g *gitea) repo(parts ...string) string {
	return g.api + "/repos/" + url.PathEscape(g.owner) + "/" + url.PathEscape(g.name) + "/" + strings.Join(parts, "/")
}

func (g *gitea) current(ctx context.Context, commit string, s status) (state, description string, found bool, err error) {
	var list []struct{ Status, Context, Description string }
	if _, err := g.getJSON(ctx, g.repo("commits", commit, "statuses")+"?sort=recentupdate&limit=50", g.auth, &list); err != nil {
		return "", "", false, err
	}
	for _, one := range list { // the newest first
		if one.Context == s.ID {
			return one.Status, one.Description, true, nil
		}
	}
	return "", "", false, nil
}

func (g *gitea) write(ctx context.Context, commit string, s status) error {
	_, err := g.postJSON(ctx, g.repo("statuses", commit), map[string]string{"state": s.State, "context": s.ID, "description": s.Description}, g.auth)
	return err
}
