package githost

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// gitHub is github.com or a GitHub Enterprise Server.
type gitHub struct {
	*client
	Options
}

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
	return &gitHub{c, o}, err
}

type gitHubRepository struct {
	Private    bool   `json:"private"`
	Visibility string `json:"visibility"`
}

// Ensure implements Host.
func (g *gitHub) Ensure(ctx context.Context, w Wanted) (Repository, Change, error) {
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
	var found gitHubRepository
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

func (g *gitHub) isOwner(ctx context.Context, owner string) error {
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

func (g *gitHub) create(ctx context.Context, w Wanted) error {
	path := "/orgs/" + url.PathEscape(w.Owner) + "/repos"
	if w.Personal {
		path = "/user/repos"
	}
	_, err := g.do(ctx, http.MethodPost, path, map[string]any{"name": w.Name, "private": w.Visibility != Public, "auto_init": false}, nil)
	if isMissing(err) {
		return fmt.Errorf("there is no organisation %q, or the token may not see it; for a personal account add --personal: %w", w.Owner, err)
	}
	return err
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

// hostedKey is a deploy key of GitHub or Gitea.
type hostedKey struct {
	ID       int64  `json:"id"`
	Title    string `json:"title"`
	Key      string `json:"key"`
	ReadOnly bool   `json:"read_only"`
}

// DeployKey implements Host.
func (g *gitHub) DeployKey(ctx context.Context, r Repository, key DeployKey) (bool, error) {
	return replaceKey(ctx, g.client, r.path+"/keys", "?per_page=100", key)
}

// replaceKey serves GitHub and Gitea, whose requests for keys are the same.
func replaceKey(ctx context.Context, c *client, path, query string, key DeployKey) (bool, error) {
	var old []hostedKey
	if err := pages(ctx, c, path+query, func(page []hostedKey) { old = append(old, page...) }); err != nil {
		return false, err
	}
	for _, k := range old {
		if k.Title != key.Title {
			continue
		}
		if sameKey(k.Key, key.Public) && k.ReadOnly == !key.Write {
			return false, nil
		}
		if _, err := c.do(ctx, http.MethodDelete, fmt.Sprintf("%s/%d", path, k.ID), nil, nil); err != nil {
			return false, err
		}
	}
	_, err := c.do(ctx, http.MethodPost, path, map[string]any{"title": key.Title, "key": strings.TrimSpace(key.Public), "read_only": !key.Write}, nil)
	return true, err
}
