package providers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/gitops-toolkit/flux/internal/notify/alert"
	"github.com/gitops-toolkit/flux/internal/notify/event"
)

func init() {
	registerComment("githubpullrequestcomment", "flux-pr-comment-key", func(c *Config) (commentHost, error) {
		g, err := newGitHub(c)
		return &gitHubComments{g}, err
	})
	registerComment("giteapullrequestcomment", "flux-pr-comment-key", func(c *Config) (commentHost, error) {
		g, err := newGitea(c)
		return &giteaComments{g}, err
	})
	registerComment("gitlabmergerequestcomment", "flux-mr-comment-key", func(c *Config) (commentHost, error) {
		g, err := newGitLab(c)
		return &gitLabComments{g}, err
	})
}

// comment at a pull or merge request.
type comment struct {
	id           int64
	author, body string
}

// commentHost is a Git host with pull or merge requests.
type commentHost interface {
	// self is the name under which we write.
	self(ctx context.Context) (string, error)
	// list returns the first hundred comments of a request.
	list(ctx context.Context, number int) ([]comment, error)
	create(ctx context.Context, number int, body string) error
	update(ctx context.Context, number int, id int64, body string) error
}

// comments keeps one comment for each object at a request, and edits it in place.
type comments struct {
	*Config
	host   commentHost
	marker string
	latest *latest
}

func registerComment(name, marker string, open func(c *Config) (commentHost, error)) {
	register(Type{Name: name, Class: alert.ChangeRequest, Patient: true, MaxMessage: 60_000, New: func(c *Config) (Sender, error) {
		host, err := open(c)
		if err != nil {
			return nil, err
		}
		return &comments{Config: c, host: host, marker: marker, latest: newLatest()}, nil
	}})
}

func (c *comments) Send(ctx context.Context, n *Notification) error {
	e := n.Event
	number, err := strconv.Atoi(e.Metadata[event.KeyChangeRequest])
	if err != nil || number <= 0 {
		return refused("the metadata %s is %q, which is not the number of a request", event.KeyChangeRequest, e.Metadata[event.KeyChangeRequest])
	}
	marker := fmt.Sprintf("<!-- %s: %s/%s -->", c.marker, c.Provider.UID, e.Object())
	slot := strconv.Itoa(number) + marker
	if !c.latest.admits(slot, e.Timestamp.Time) {
		return nil
	}
	body := marker + "\n\n" + statusMarkdown(e, event.KeyChangeRequest)
	if err := c.put(ctx, number, marker, body); err != nil {
		return err
	}
	c.latest.set(slot, e.Timestamp.Time)
	return nil
}

func (c *comments) put(ctx context.Context, number int, marker, body string) error {
	self, err := c.host.self(ctx)
	if err != nil {
		return fmt.Errorf("could not find out the own login: %w", err)
	}
	all, err := c.host.list(ctx, number)
	if err != nil {
		return fmt.Errorf("could not list comments: %w", err)
	}
	for _, one := range all {
		if one.author != self || !marked(one.body, marker) {
			continue
		}
		if one.body == body {
			return nil
		}
		return c.host.update(ctx, number, one.id, body)
	}
	return c.host.create(ctx, number, body)
}

// marked compares without spaces, which upstream's markers may have elsewhere.
func marked(body, marker string) bool {
	squeeze := func(s string) string { return strings.ReplaceAll(s, " ", "") }
	return strings.Contains(squeeze(firstLine(body)), squeeze(marker))
}

type gitHubComments struct{ *gitHub }

func (g *gitHubComments) self(ctx context.Context) (string, error) {
	if g.app != nil {
		return g.app.login(ctx)
	}
	auth, err := g.authorize(ctx)
	if err != nil {
		return "", err
	}
	var user struct{ Login string }
	if found, err := g.getJSON(ctx, g.api+"/user", auth, &user); err != nil || !found {
		return "", errors.Join(err, notFound(found || err != nil, "the user of the token"))
	}
	return user.Login, nil
}

type issueComment struct {
	ID   int64
	Body string
	User struct{ Login string }
}

func issueComments(in []issueComment) []comment {
	out := make([]comment, len(in))
	for i, c := range in {
		out[i] = comment{c.ID, c.User.Login, c.Body}
	}
	return out
}

func (g *gitHubComments) list(ctx context.Context, number int) ([]comment, error) {
	auth, err := g.authorize(ctx)
	if err != nil {
		return nil, err
	}
	var all []issueComment
	found, err := g.getJSON(ctx, g.repo("issues", strconv.Itoa(number), "comments")+"?per_page=100", auth, &all)
	if err != nil || !found {
		return nil, errors.Join(err, notFound(found || err != nil, "the pull request"))
	}
	return issueComments(all), nil
}

func (g *gitHubComments) create(ctx context.Context, number int, body string) error {
	return g.send(ctx, http.MethodPost, g.repo("issues", strconv.Itoa(number), "comments"), body)
}

func (g *gitHubComments) update(ctx context.Context, _ int, id int64, body string) error {
	return g.send(ctx, http.MethodPatch, g.repo("issues", "comments", strconv.FormatInt(id, 10)), body)
}

func (g *gitHubComments) send(ctx context.Context, method, at, body string) error {
	auth, err := g.authorize(ctx)
	if err != nil {
		return err
	}
	_, err = g.sendJSON(ctx, method, at, map[string]string{"body": body}, auth)
	return err
}

type giteaComments struct{ *gitea }

func (g *giteaComments) self(ctx context.Context) (string, error) {
	var user struct{ Login string }
	found, err := g.getJSON(ctx, g.api+"/user", g.auth, &user)
	return user.Login, errors.Join(err, notFound(found || err != nil, "the user of the token"))
}

func (g *giteaComments) list(ctx context.Context, number int) ([]comment, error) {
	var all []issueComment
	found, err := g.getJSON(ctx, g.repo("issues", strconv.Itoa(number), "comments")+"?limit=100", g.auth, &all)
	return issueComments(all), errors.Join(err, notFound(found || err != nil, "the pull request"))
}

func (g *giteaComments) create(ctx context.Context, number int, body string) error {
	_, err := g.postJSON(ctx, g.repo("issues", strconv.Itoa(number), "comments"), map[string]string{"body": body}, g.auth)
	return err
}

func (g *giteaComments) update(ctx context.Context, _ int, id int64, body string) error {
	_, err := g.sendJSON(ctx, http.MethodPatch, g.repo("issues", "comments", strconv.FormatInt(id, 10)), map[string]string{"body": body}, g.auth)
	return err
}

type gitLabComments struct{ *gitLab }

func (g *gitLabComments) self(ctx context.Context) (string, error) {
	var user struct{ Username string }
	found, err := g.getJSON(ctx, g.api+"/user", g.auth, &user)
	return user.Username, errors.Join(err, notFound(found || err != nil, "the user of the token"))
}

func (g *gitLabComments) notes(number int) string {
	return g.project + "/merge_requests/" + strconv.Itoa(number) + "/notes"
}

func (g *gitLabComments) list(ctx context.Context, number int) ([]comment, error) {
	var all []struct {
		ID     int64
		Body   string
		Author struct{ Username string }
	}
	found, err := g.getJSON(ctx, g.notes(number)+"?per_page=100", g.auth, &all)
	out := make([]comment, len(all))
	for i, c := range all {
		out[i] = comment{c.ID, c.Author.Username, c.Body}
	}
	return out, errors.Join(err, notFound(found || err != nil, "the merge request"))
}

func (g *gitLabComments) create(ctx context.Context, number int, body string) error {
	_, err := g.postJSON(ctx, g.notes(number), map[string]string{"body": body}, g.auth)
	return err
}

func (g *gitLabComments) update(ctx context.Context, number int, id int64, body string) error {
	_, err := g.sendJSON(ctx, http.MethodPut, g.notes(number)+"/"+url.PathEscape(strconv.FormatInt(id, 10)), map[string]string{"body": body}, g.auth)
	return err
}

// notFound is the error for something that the host does not show us.
func notFound(found bool, what string) error {
	if found {
		return nil
	}
	return refused("%s was not found, or the token may not see it", what)
}
