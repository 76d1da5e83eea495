package providers

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
)

func init() { register(Type{Name: "googlepubsub", New: newPubSub}) }

const pubSubAPI = "https://pubsub.googleapis.com/v1"

// pubSub publishes to a topic of Google Pub/Sub, as the service account whose key the Secret holds, as
// the ServiceAccount of the Provider, or as the controller.
type pubSub struct {
	*Config
	url string
}

func newPubSub(c *Config) (Sender, error) {
	if c.Address == "" || !plainID(c.Address) {
		return nil, errors.New("address must be the id of the Google Cloud project")
	}
	if err := c.needChannel("the id of the Pub/Sub topic"); err != nil {
		return nil, err
	}
	p := &pubSub{Config: c, url: pubSubAPI + "/projects/" + url.PathEscape(c.Address) + "/topics/" + url.PathEscape(c.Channel) + ":publish"}
	if c.Token == "" {
		return p, nil
	}
	var file struct{ Type string }
	if err := json.Unmarshal([]byte(c.Token), &file); err != nil || file.Type != "service_account" {
		return nil, errors.New("the Secret's key 'token' must be the JSON key file of a service account")
	}
	return p, nil
}

// plainID tells whether an id is free of what would change the meaning of a URL.
func plainID(s string) bool { return url.PathEscape(s) == s }

type pubSubMessage struct {
	Data       []byte            `json:"data"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

func (p *pubSub) Send(ctx context.Context, n *Notification) error {
	data, err := json.Marshal(n.Event)
	if err != nil {
		return refused("the event cannot be encoded: %v", err)
	}
	token, err := p.googleToken(ctx)
	if err != nil {
		return err
	}
	_, err = p.postJSON(ctx, p.url, map[string]any{"messages": []pubSubMessage{{Data: data, Attributes: p.Headers}}}, header("Authorization", "Bearer "+token))
	return err
}
