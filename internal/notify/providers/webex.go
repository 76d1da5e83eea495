package providers

import (
	"context"
	"fmt"
	"strings"
)

func init() { register(Type{Name: "webex", MaxMessage: 6000, New: newWebex}) }

type webex struct {
	*Config
	url string
}

func newWebex(c *Config) (Sender, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	return &webex{Config: c, url: u.String()}, nil
}

func (w *webex) Send(ctx context.Context, n *Notification) error {
	e := n.Event
	var b strings.Builder
	fmt.Fprintf(&b, "%s **%s**\n%s\n", pick(e, "✅", "💣"), dotted(e), e.Message)
	for _, f := range e.Fields() {
		fmt.Fprintf(&b, ">**%s**: %s\n", f.Key, f.Value)
	}
	payload := struct {
		RoomID   string `json:"roomId"`
		Markdown string `json:"markdown"`
	}{w.Channel, b.String()}
	_, err := w.postJSON(ctx, w.url, payload, w.bearer())
	return err
}
