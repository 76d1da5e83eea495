package providers

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
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
	if os.Getenv("NOTIFIER_GITEA_DEBUG") == "true" {
		client := *c.HTTP
		client.Transport = &logged{client.Transport, c, ctrllog.Log.WithName("gitea")}
		c.HTTP = &client
	}
	return g, nil
}

// logged logs requests and their answers, without credentials.
type logged struct {
	http.RoundTripper
	c   *Config
	log logr.Logger
}

// maxLogged is how much of an answer is logged, in bytes.
const maxLogged = 4 << 10

// RoundTrip implements http.RoundTripper.
func (l *logged) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	resp, err := l.RoundTripper.RoundTrip(r)
	log := l.log.WithValues("method", r.Method, "url", l.c.hide(r.URL.Redacted()), "duration", time.Since(began).String())
	if err != nil {
		log.Error(l.c.mask(unreachable(err)), "Gitea was not reached")
		return resp, err
	}
	begin, _ := io.ReadAll(io.LimitReader(resp.Body, maxLogged))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(begin), resp.Body), resp.Body}
	log.Info("Gitea has answered", "status", resp.StatusCode, "body", l.c.hide(string(begin)))
	return resp, nil
}

// CloseIdleConnections lets go of connections.
func (l *logged) CloseIdleConnections() {
	(&http.Client{Transport: l.RoundTripper}).CloseIdleConnections()
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
