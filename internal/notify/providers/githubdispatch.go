package providers

import (
	"context"

	"github.com/gitops-toolkit/flux/internal/notify/alert"
)

func init() {
	register(Type{Name: "githubdispatch", Class: alert.Message, MaxMessage: 40_000, New: newGitHubDispatch})
}

// maxEventType is the longest that GitHub takes.
const maxEventType = 100

type gitHubDispatch struct{ *gitHub }

func newGitHubDispatch(c *Config) (Sender, error) {
	g, err := newGitHub(c)
	if err != nil {
		return nil, err
	}
	return &gitHubDispatch{g}, nil
}

func (g *gitHubDispatch) Send(ctx context.Context, n *Notification) error {
	o := n.Event.InvolvedObject
	auth, err := g.authorize(ctx)
	if err != nil {
		return err
	}
	payload := map[string]any{"event_type": cut(o.Kind+"/"+o.Name+"."+o.Namespace, maxEventType), "client_payload": n.Event}
	_, err = g.postJSON(ctx, g.repo("dispatches"), payload, auth)
	return err
}
