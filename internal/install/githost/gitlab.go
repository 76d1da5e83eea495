package githost

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// gitLab is gitlab.com or a GitLab of one's own.
type gitLab struct {
	*client
	Options
}

// NewGitLab returns GitLab.
func NewGitLab(o Options) (Host, error) {
	header := http.Header{}
	header.Set("PRIVATE-TOKEN", o.Token)
	header.Set("Accept", "application/json")
	c, err := newClient("https://"+o.Hostname+"/api/v4", o, header)
	return &gitLab{c, o}, err
}

// gitLabName is what a project may be called: letters, digits, emojis, "_", ".", "-" and spaces.
var gitLabName = regexp.MustCompile(`^[\p{L}\p{N}\p{So}_][\p{L}\p{N}\p{So}\x{200d}\x{fe0f}_. -]*$`)

type gitLabProject struct {
	ID         int64  `json:"id"`
	Path       string `json:"path_with_namespace"`
	Visibility string `json:"visibility"`
}

// Ensure implements Host. The name may hold sub-groups, as in a/b/name.
func (g *gitLab) Ensure(ctx context.Context, w Wanted) (Repository, Change, error) {
	owner, name := w.Owner, w.Name
	if i := strings.LastIndex(name, "/"); i >= 0 {
		owner, name = owner+"/"+name[:i], name[i+1:]
	}
	if !gitLabName.MatchString(name) {
		return Repository{}, Unchanged, fmt.Errorf("%s is an invalid project name for gitlab: it can contain only letters, emojis, digits, '_', '.', '-' and spaces, and begins with a letter, emoji, digit or '_'", name)
	}
	if w.Personal {
		if err := g.isOwner(ctx, owner); err != nil {
			return Repository{}, Unchanged, err
		}
	}
	slug := strings.ReplaceAll(name, " ", "-")
	var found gitLabProject
	_, err := g.do(ctx, http.MethodGet, "/projects/"+url.PathEscape(owner+"/"+slug), nil, &found)
	change := Unchanged
	switch {
	case isMissing(err):
		change = Created
		found, err = g.create(ctx, w, owner, name, slug)
	case err == nil && w.Reconcile && found.Visibility != string(w.Visibility):
		change = Updated
		_, err = g.do(ctx, http.MethodPut, fmt.Sprintf("/projects/%d", found.ID), map[string]any{"visibility": w.Visibility}, nil)
	}
	if err != nil {
		return Repository{}, Unchanged, err
	}
	return Repository{
		URL:   "https://" + g.Hostname + "/" + found.Path,
		HTTPS: "https://" + g.Hostname + "/" + found.Path + ".git",
		SSH:   "ssh://git@" + g.sshHost() + "/" + found.Path,
		path:  fmt.Sprintf("/projects/%d", found.ID),
	}, change, nil
}

func (g *gitLab) isOwner(ctx context.Context, owner string) error {
	var user struct {
		Username string `json:"username"`
	}
	if _, err := g.do(ctx, http.MethodGet, "/user", nil, &user); err != nil {
		return err
	}
	if !strings.EqualFold(user.Username, owner) {
		return errOwner(owner)
	}
	return nil
}

func (g *gitLab) create(ctx context.Context, w Wanted, owner, name, slug string) (project gitLabProject, err error) {
	body := map[string]any{"name": name, "path": slug, "visibility": w.Visibility, "initialize_with_readme": false}
	if !w.Personal {
		id, err := g.group(ctx, owner)
		if err != nil {
			return project, err
		}
		body["namespace_id"] = id
	}
	_, err = g.do(ctx, http.MethodPost, "/projects", body, &project)
	return project, err
}

func (g *gitLab) group(ctx context.Context, path string) (int64, error) {
	var group struct {
		ID int64 `json:"id"`
	}
	_, err := g.do(ctx, http.MethodGet, "/groups/"+url.PathEscape(path), nil, &group)
	if isMissing(err) {
		return 0, fmt.Errorf("there is no group %q, or the token may not see it; for a personal account add --personal: %w", path, err)
	}
	return group.ID, err
}

// gitLabPermissions are access levels.
var gitLabPermissions = map[string]int{"pull": 10, "triage": 20, "push": 30, "maintain": 40, "admin": 50}

// Grant implements Host.
func (g *gitLab) Grant(ctx context.Context, r Repository, team, level string) error {
	access, err := permission(gitLabPermissions, level)
	if err != nil {
		return err
	}
	id, err := g.group(ctx, team)
	if err != nil {
		return err
	}
	_, err = g.do(ctx, http.MethodPost, r.path+"/share", map[string]any{"group_id": id, "group_access": access}, nil)
	var refused *Error
	if errors.As(err, &refused) && refused.Status == http.StatusConflict {
		return nil // it is shared with the group already
	}
	return err
}

type gitLabKey struct {
	ID      int64  `json:"id"`
	Title   string `json:"title"`
	Key     string `json:"key"`
	CanPush bool   `json:"can_push"`
}

// DeployKey implements Host.
func (g *gitLab) DeployKey(ctx context.Context, r Repository, key DeployKey) (bool, error) {
	var old []gitLabKey
	if err := pages(ctx, g.client, r.path+"/deploy_keys?per_page=100", func(page []gitLabKey) { old = append(old, page...) }); err != nil {
		return false, err
	}
	for _, k := range old {
		if k.Title != key.Title {
			continue
		}
		if sameKey(k.Key, key.Public) && k.CanPush == key.Write {
			return false, nil
		}
		if _, err := g.do(ctx, http.MethodDelete, fmt.Sprintf("%s/deploy_keys/%d", r.path, k.ID), nil, nil); err != nil {
			return false, err
		}
	}
	_, err := g.do(ctx, http.MethodPost, r.path+"/deploy_keys", map[string]any{"title": key.Title, "key": strings.TrimSpace(key.Public), "can_push": key.Write}, nil)
	return true, err
}

// DeployToken implements TokenMaker.
func (g *gitLab) DeployToken(ctx context.Context, r Repository, name string) (user, token string, err error) {
	type deployToken struct {
		ID       int64  `json:"id"`
		Name     string `json:"name"`
		Username string `json:"username"`
		Token    string `json:"token"`
		Revoked  bool   `json:"revoked"`
	}
	var old []deployToken
	if err := pages(ctx, g.client, r.path+"/deploy_tokens?per_page=100", func(page []deployToken) { old = append(old, page...) }); err != nil {
		return "", "", err
	}
	for _, t := range old {
		if t.Name != name || t.Revoked {
			continue
		}
		// Its text cannot be had again.
		if _, err := g.do(ctx, http.MethodDelete, fmt.Sprintf("%s/deploy_tokens/%d", r.path, t.ID), nil, nil); err != nil {
			return "", "", err
		}
	}
	var made deployToken
	_, err = g.do(ctx, http.MethodPost, r.path+"/deploy_tokens", map[string]any{"name": name, "scopes": []string{"read_repository"}}, &made)
	if err == nil && (made.Username == "" || made.Token == "") {
		err = errors.New("the host made a deploy token but did not tell it")
	}
	return made.Username, made.Token, err
}
