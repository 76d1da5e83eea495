package githost

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// bitbucket is a Bitbucket Server or Data Center.
type bitbucket struct {
	*client
	Options
}

// NewBitbucket returns a Bitbucket Server or Data Center.
func NewBitbucket(o Options) (Host, error) {
	header := http.Header{}
	header.Set("Authorization", "Bearer "+o.Token)
	header.Set("Accept", "application/json")
	header.Set("X-Atlassian-Token", "no-check")
	c, err := newClient("https://"+o.Hostname+"/rest", o, header)
	return &bitbucket{c, o}, err
}

type bitbucketRepository struct {
	Slug    string `json:"slug"`
	Public  bool   `json:"public"`
	Project struct {
		Key string `json:"key"`
	} `json:"project"`
	Links struct {
		Clone []struct {
			Href string `json:"href"`
			Name string `json:"name"`
		} `json:"clone"`
	} `json:"links"`
}

// Ensure implements Host. The owner is a project's key, or the name of a user.
func (b *bitbucket) Ensure(ctx context.Context, w Wanted) (Repository, Change, error) {
	project := w.Owner
	if w.Personal {
		if !strings.EqualFold(w.Owner, b.Username) && b.Username != "" && b.Username != "git" {
			return Repository{}, Unchanged, errOwner(w.Owner)
		}
		project = "~" + w.Owner
	}
	projectPath := "/api/1.0/projects/" + url.PathEscape(project)
	path := projectPath + "/repos/" + url.PathEscape(strings.ToLower(w.Name))
	var found bitbucketRepository
	_, err := b.do(ctx, http.MethodGet, path, nil, &found)
	change := Unchanged
	switch {
	case isMissing(err):
		change = Created
		_, err = b.do(ctx, http.MethodPost, projectPath+"/repos", map[string]any{
			"name": w.Name, "scmId": "git", "public": w.Visibility == Public, "defaultBranch": w.Branch,
		}, &found)
		if isMissing(err) {
			err = fmt.Errorf("there is no project %q, or the token may not see it; for a personal repository add --personal: %w", w.Owner, err)
		}
	case err == nil && w.Reconcile && found.Public != (w.Visibility == Public):
		change = Updated
		_, err = b.do(ctx, http.MethodPut, path, map[string]any{"public": w.Visibility == Public}, nil)
	}
	if err != nil {
		return Repository{}, Unchanged, err
	}
	return b.repository(project, found), change, nil
}

func (b *bitbucket) repository(project string, found bitbucketRepository) Repository {
	r := Repository{
		URL:   "https://" + b.Hostname + "/projects/" + project + "/repos/" + found.Slug,
		HTTPS: "https://" + b.Hostname + "/scm/" + strings.ToLower(project) + "/" + found.Slug + ".git",
		SSH:   "ssh://git@" + b.sshHost() + "/" + strings.ToLower(project) + "/" + found.Slug + ".git",
		path:  "projects/" + url.PathEscape(project) + "/repos/" + url.PathEscape(found.Slug),
	}
	for _, link := range found.Links.Clone {
		// Its own word on the SSH address has the port, which is seldom 22.
		if link.Name == "ssh" && b.SSHHostname == "" && strings.HasPrefix(link.Href, "ssh://") {
			r.SSH = link.Href
		}
	}
	return r
}

var bitbucketPermissions = map[string]string{"pull": "REPO_READ", "triage": "REPO_READ", "push": "REPO_WRITE", "maintain": "REPO_ADMIN", "admin": "REPO_ADMIN"}

// Grant implements Host.
func (b *bitbucket) Grant(ctx context.Context, r Repository, team, level string) error {
	name, err := permission(bitbucketPermissions, level)
	if err != nil {
		return err
	}
	query := url.Values{"name": {team}, "permission": {name}}
	_, err = b.do(ctx, http.MethodPut, "/api/1.0/"+r.path+"/permissions/groups?"+query.Encode(), nil, nil)
	return err
}

type bitbucketKey struct {
	Key struct {
		ID    int64  `json:"id"`
		Text  string `json:"text"`
		Label string `json:"label"`
	} `json:"key"`
	Permission string `json:"permission"`
}

// DeployKey implements Host. Bitbucket calls it an access key.
func (b *bitbucket) DeployKey(ctx context.Context, r Repository, key DeployKey) (bool, error) {
	path, level := "/keys/1.0/"+r.path+"/ssh", "REPO_READ"
	if key.Write {
		level = "REPO_WRITE"
	}
	old, err := b.keys(ctx, path)
	if err != nil {
		return false, err
	}
	for _, k := range old {
		if k.Key.Label != key.Title {
			continue
		}
		if sameKey(k.Key.Text, key.Public) && k.Permission == level {
			return false, nil
		}
		if _, err := b.do(ctx, http.MethodDelete, fmt.Sprintf("%s/%d", path, k.Key.ID), nil, nil); err != nil {
			return false, err
		}
	}
	_, err = b.do(ctx, http.MethodPost, path, map[string]any{
		"key": map[string]any{"text": strings.TrimSpace(key.Public), "label": key.Title}, "permission": level,
	}, nil)
	return true, err
}

func (b *bitbucket) keys(ctx context.Context, path string) (all []bitbucketKey, err error) {
	start := 0
	for range maxPages {
		var page struct {
			Values []bitbucketKey `json:"values"`
			Last   bool           `json:"isLastPage"`
			Next   int            `json:"nextPageStart"`
		}
		if _, err := b.do(ctx, http.MethodGet, fmt.Sprintf("%s?limit=100&start=%d", path, start), nil, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Values...)
		if page.Last || page.Next <= start {
			return all, nil
		}
		start = page.Next
	}
	return nil, fmt.Errorf("%s has more than %d pages", path, maxPages)
}
