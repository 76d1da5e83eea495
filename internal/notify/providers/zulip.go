package providers

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

func init() { register(Type{Name: "zulip", MaxMessage: 9000, New: newZulip}) }

type zulip struct {
	*Config
	url, stream, topic string
}

func newZulip(c *Config) (Sender, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	stream, topic, ok := strings.Cut(c.Channel, "/")
	if !ok || stream == "" || topic == "" {
		return nil, errors.New("spec.channel: zulip needs <channel>/<topic>")
	}
	u = &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/api/v1/messages"}
	return &zulip{Config: c, url: u.String(), stream: stream, topic: topic}, nil
}

func (z *zulip) Send(ctx context.Context, n *Notification) error {
	form := url.Values{"type": {"stream"}, "to": {z.stream}, "topic": {z.topic}, "content": {statusMarkdown(n.Event, "")}}
	_, err := z.do(ctx, request{
		method: http.MethodPost, url: z.url, body: []byte(form.Encode()),
		header: header("Content-Type", "application/x-www-form-urlencoded", "Authorization", basicAuth(z.Username, z.Password)),
	})
	return err
}
