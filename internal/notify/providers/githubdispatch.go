package providers

import (
	"context"

	"github.com/gitops-toolkit/flux/internal/notify/alert"
)

func init() { register(Type{Name: "githubdispatch", Class: alert.Message, New: newGitHubDispatch}) }

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
	payload := map[string]any{"event_type": o.Kind + "/" + o.Name + "." + o.Namespace, "client_payload": n.Event}
	_, err = g.postJSON(ctx, g.repo("dispatches"), payload, auth)
	return err
}
