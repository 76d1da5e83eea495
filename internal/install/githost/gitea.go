package githost

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// gitea is Gitea or Forgejo.
type gitea struct {
	*client
	Options
}

// NewGitea returns Gitea.
func NewGitea(o Options) (Host, error) {
	header := http.Header{}
	header.Set("Authorization", "token "+o.Token)
	header.Set("Accept", "application/json")
	c, err := newClient("https://"+o.Hostname+"/api/v1", o, header)
	return &gitea{c, o}, err
}

// Ensure implements Host.
func (g *gitea) Ensure(ctx context.Context, w Wanted) (Repository, Change, error) {
	if w.Personal {
		if err := g.isOwner(ctx, w.Owner); err != nil {
			return Repository{}, Unchanged, err
		}
	}
	r := Repository{
		URL:   "https://" + g.Hostname + "/" + w.Owner + "/" + w.Name,
		HTTPS: "https://" + g.Hostname + "/" + w.Owner + "/" + w.Name + ".git",
		SSH:   "ssh://git@" + g.sshHost() + "/" + w.Owner + "/" + w.Name,
		path:  "/repos/" + url.PathEscape(w.Owner) + "/" + url.PathEscape(w.Name),
	}
	var found struct {
		Private bool `json:"private"`
	}
	_, err := g.do(ctx, http.MethodGet, r.path, nil, &found)
	switch {
	case isMissing(err):
		return r, Created, g.create(ctx, w)
	case err != nil:
		return r, Unchanged, err
	case !w.Reconcile || found.Private == (w.Visibility != Public):
		return r, Unchanged, nil
	}
	_, err = g.do(ctx, http.MethodPatch, r.path, map[string]any{"private": w.Visibility != Public}, nil)
	return r, Updated, err
}

func (g *gitea) isOwner(ctx context.Context, owner string) error {
	var user struct {
		Login string `json:"login"`
	}
	if _, err := g.do(ctx, http.MethodGet, "/user", nil, &user); err != nil {
		return err
	}
	if !strings.EqualFold(user.Login, owner) {
		return errOwner(owner)
	}
	return nil
}

func (g *gitea) create(ctx context.Context, w Wanted) error {
	path := "/orgs/" + url.PathEscape(w.Owner) + "/repos"
	if w.Personal {
		path = "/user/repos"
	}
	_, err := g.do(ctx, http.MethodPost, path, map[string]any{"name": w.Name, "private": w.Visibility != Public, "auto_init": false, "default_branch": w.Branch}, nil)
	if isMissing(err) {
		return fmt.Errorf("there is no organisation %q, or the token may not see it; for a personal account add --personal: %w", w.Owner, err)
	}
	return err
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
