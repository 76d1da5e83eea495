package providers

import (
	"context"
	"net/http"
	"net/url"
)

func init() {
	registerStatus("gitlab", states{success: "success", failure: "failed"}, func(c *Config) (statusHost, error) { return newGitLab(c) })
}

// gitLab is a project; the path of the address is its full path or its number.
type gitLab struct {
	*Config
	project string
	auth    http.Header
	api     string
}

func newGitLab(c *Config) (*gitLab, error) {
	at, err := gitAddress(c)
	if err != nil {
		return nil, err
	}
	token, err := c.secret()
	if err != nil {
		return nil, err
	}
	api := at.base() + "/api/v4"
	return &gitLab{Config: c, api: api, project: api + "/projects/" + url.PathEscape(at.path), auth: header("Private-Token", token)}, nil
}

func (g *gitLab) current(ctx context.Context, commit string, s status) (state, description string, found bool, err error) {
	var list []struct{ Status, Name, Description string }
	at := g.project + "/repository/commits/" + commit + "/statuses?per_page=100&name=" + url.QueryEscape(s.ID)
	if _, err := g.getJSON(ctx, at, g.auth, &list); err != nil {
		return "", "", false, err
	}
	for _, one := range list {
		if one.Name == s.ID {
			return one.Status, one.Description, true, nil
		}
	}
	return "", "", false, nil
}

func (g *gitLab) write(ctx context.Context, commit string, s status) error {
	_, err := g.postJSON(ctx, g.project+"/statuses/"+commit, map[string]string{"state": s.State, "name": s.ID, "description": s.Description}, g.auth)
	return err
}
