package githost

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// gitHub is github.com or a GitHub Enterprise Server.
type gitHub struct{ hub }

// NewGitHub returns GitHub.
func NewGitHub(o Options) (Host, error) {
	base := "https://" + o.Hostname + "/api/v3"
	if o.Hostname == "github.com" {
		base = "https://api.github.com"
	}
	header := http.Header{}
	header.Set("Authorization", "Bearer "+o.Token)
	header.Set("Accept", "application/vnd.github+json")
	header.Set("X-GitHub-Api-Version", "2022-11-28")
	c, err := newClient(base, o, header)
	return &gitHub{hub{client: c, Options: o}}, err
}

var gitHubPermissions = map[string]string{"pull": "pull", "triage": "triage", "push": "push", "maintain": "maintain", "admin": "admin"}

// Grant implements Host.
func (g *gitHub) Grant(ctx context.Context, r Repository, team, level string) error {
	name, err := permission(gitHubPermissions, level)
	if err != nil {
		return err
	}
	org, _, _ := strings.Cut(strings.TrimPrefix(r.path, "/repos/"), "/")
	slug := strings.ReplaceAll(strings.ToLower(team), " ", "-")
	_, err = g.do(ctx, http.MethodPut, "/orgs/"+org+"/teams/"+url.PathEscape(slug)+r.path, map[string]any{"permission": name}, nil)
	return err
}

// DeployKey implements Host.
func (g *gitHub) DeployKey(ctx context.Context, r Repository, key DeployKey) (bool, error) {
	return replaceKey(ctx, g.client, r.path+"/keys", "?per_page=100", key)
}
