package githost

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// hub is what GitHub and Gitea have in common.
type hub struct {
	*client
	Options
	// namesBranch says that a new repository is told its default branch.
	namesBranch bool
}

// Ensure implements Host.
func (h *hub) Ensure(ctx context.Context, w Wanted) (Repository, Change, error) {
	if w.Personal {
		if err := h.isOwner(ctx, w.Owner); err != nil {
			return Repository{}, Unchanged, err
		}
	}
	r := Repository{
		URL:   "https://" + h.Hostname + "/" + w.Owner + "/" + w.Name,
		HTTPS: "https://" + h.Hostname + "/" + w.Owner + "/" + w.Name + ".git",
		SSH:   "ssh://git@" + h.sshHost() + "/" + w.Owner + "/" + w.Name,
		path:  "/repos/" + url.PathEscape(w.Owner) + "/" + url.PathEscape(w.Name),
	}
	var found struct {
		Private bool `json:"private"`
	}
	_, err := h.do(ctx, http.MethodGet, r.path, nil, &found)
	switch {
	case isMissing(err):
		return r, Created, h.create(ctx, w)
	case err != nil:
		return r, Unchanged, err
	case !w.Reconcile || found.Private == (w.Visibility != Public):
		return r, Unchanged, nil
	}
	_, err = h.do(ctx, http.MethodPatch, r.path, map[string]any{"private": w.Visibility != Public}, nil)
	return r, Updated, err
}

func (h *hub) isOwner(ctx context.Context, owner string) error {
	var user struct {
		Login string `json:"login"`
	}
	if _, err := h.do(ctx, http.MethodGet, "/user", nil, &user); err != nil {
		return err
	}
	if !strings.EqualFold(user.Login, owner) {
		return errOwner(owner)
	}
	return nil
}

func (h *hub) create(ctx context.Context, w Wanted) error {
	path := "/orgs/" + url.PathEscape(w.Owner) + "/repos"
	if w.Personal {
		path = "/user/repos"
	}
	wanted := map[string]any{"name": w.Name, "private": w.Visibility != Public, "auto_init": false}
	if h.namesBranch {
		wanted["default_branch"] = w.Branch
	}
	_, err := h.do(ctx, http.MethodPost, path, wanted, nil)
	if isMissing(err) {
		return fmt.Errorf("there is no organisation %q, or the token may not see it; for a personal account add --personal: %w", w.Owner, err)
	}
	return err
}

// hostedKey is a deploy key of GitHub or Gitea.
type hostedKey struct {
	ID       int64  `json:"id"`
	Title    string `json:"title"`
	Key      string `json:"key"`
	ReadOnly bool   `json:"read_only"`
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
