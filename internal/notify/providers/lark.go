package providers

import (
	"context"
	"fmt"
	"strings"
)

func init() { register(Type{Name: "lark", MaxMessage: 12_000, New: newLark}) }

type lark struct {
	*Config
	url string
}

func newLark(c *Config) (Sender, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	return &lark{Config: c, url: u.String()}, nil
}

type larkText struct {
	Tag     string `json:"tag"`
	Content string `json:"content"`
}

type larkMessage struct {
	MsgType string   `json:"msg_type"`
	Card    larkCard `json:"card"`
}

type larkCard struct {
	Config struct {
		Wide bool `json:"wide_screen_mode"`
	} `json:"config"`
	Header struct {
		Title    larkText `json:"title"`
		Template string   `json:"template"`
	} `json:"header"`
	Elements []larkElement `json:"elements"`
}

type larkElement struct {
	Tag  string   `json:"tag"`
	Text larkText `json:"text"`
}

func (l *lark) Send(ctx context.Context, n *Notification) error {
	e := n.Event
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**\n\n", e.Message)
	for _, f := range e.Fields() {
		fmt.Fprintf(&b, "%s: %s\n", f.Key, f.Value)
	}
	m := larkMessage{MsgType: "interactive"}
	m.Card.Config.Wide = true
	m.Card.Header.Title = larkText{"plain_text", pick(e, "💫 ", "🚨 ") + dotted(e)}
	m.Card.Header.Template = pick(e, "turquoise", "red")
	m.Card.Elements = []larkElement{{Tag: "div", Text: larkText{"lark_md", b.String()}}}
	_, err := l.postJSON(ctx, l.url, m, nil)
	return err
}
