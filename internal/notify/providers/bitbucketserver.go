package providers

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

func init() {
	registerStatus("bitbucketserver", states{success: "SUCCESSFUL", failure: "FAILED"}, func(c *Config) (statusHost, error) { return newBitbucketServer(c) })
}

// bitbucketServer is a repository at a server of one's own; its clone URL is
// https://host[/context]/scm/<project>/<repository>.git.
type bitbucketServer struct {
	*Config
	repo string
	auth http.Header
}

func newBitbucketServer(c *Config) (*bitbucketServer, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	prefix, path, ok := strings.Cut(u.Path, "/scm/")
	project, name, two := strings.Cut(strings.TrimSuffix(strings.Trim(path, "/"), ".git"), "/")
	if !ok || !two || project == "" || name == "" || strings.Contains(name, "/") {
		return nil, errors.New("address must be the HTTP clone URL, https://<host>/scm/<project>/<repository>.git")
	}
	b := &bitbucketServer{Config: c, auth: header("X-Atlassian-Token", "no-check", "X-Requested-With", "XMLHttpRequest")}
	base := url.URL{Scheme: u.Scheme, Host: u.Host, Path: prefix}
	b.repo = base.String() + "/rest/api/latest/projects/" + url.PathEscape(project) + "/repos/" + url.PathEscape(name)
	switch {
	case c.Token != "":
		b.auth.Set("Authorization", "Bearer "+c.Token)
	case c.Username != "" && c.Password != "":
		b.auth.Set("Authorization", basicAuth(c.Username, c.Password))
	default:
		return nil, errors.New("bitbucketserver needs a login: set the key 'token', or 'username' and 'password', in the Secret of secretRef")
	}
	return b, nil
}

func (b *bitbucketServer) builds(commit string) string {
	return b.repo + "/commits/" + commit + "/builds"
}

func (b *bitbucketServer) current(ctx context.Context, commit string, s status) (state, description string, found bool, err error) {
	var one struct{ State, Description string }
	found, err = b.getJSON(ctx, b.builds(commit)+"?key="+s.key(), b.auth, &one)
	return one.State, one.Description, found && one.State != "", err
}

func (b *bitbucketServer) write(ctx context.Context, commit string, s status) error {
	_, err := b.postJSON(ctx, b.builds(commit), map[string]string{
		"key": s.key(), "name": cut(s.Object+" ["+s.Description+"]", maxBuildText), "state": s.State, "description": cut(s.Description, maxBuildText), "url": b.Address,
	}, b.auth)
	return err
}
