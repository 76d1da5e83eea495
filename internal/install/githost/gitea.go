package githost

import (
	"context"
	"net/http"
	"net/url"
)

// gitea is Gitea or Forgejo.
type gitea struct{ hub }

// NewGitea returns Gitea.
func NewGitea(o Options) (Host, error) {
	header := http.Header{}
	header.Set("Authorization", "token "+o.Token)
	header.Set("Accept", "application/json")
	c, err := newClient("https://"+o.Hostname+"/api/v1", o, header)
	return &gitea{hub{client: c, Options: o, namesBranch: true}}, err
}

// Grant implements Host. What a team may do is a property of the team itself.
func (g *gitea) Grant(ctx context.Context, r Repository, team, level string) error {
	if _, err := permission(gitHubPermissions, level); err != nil {
		return err
	}
	_, err := g.do(ctx, http.MethodPut, r.path+"/teams/"+url.PathEscape(team), nil, nil)
	return err
}

// DeployKey implements Host.
func (g *gitea) DeployKey(ctx context.Context, r Repository, key DeployKey) (bool, error) {
	return replaceKey(ctx, g.client, r.path+"/keys", "?limit=50", key)
}
