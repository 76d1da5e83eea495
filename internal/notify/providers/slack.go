package providers

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"

	"github.com/gitops-toolkit/flux/internal/notify/event"
)

func init() {
	register(Type{Name: "slack", MaxMessage: 40_000, New: newSlack})
	register(Type{Name: "discord", MaxMessage: 4000, New: newDiscord})
	register(Type{Name: "rocket", MaxMessage: 40_000, New: newRocket})
}

// slackAPI answers 200 to everything and says in the body whether it worked; webhooks do not.
const slackAPI = "https://slack.com/api/chat.postMessage"

// maxAuthor is the longest name of an author, in characters.
const maxAuthor = 256

// slack speaks the message format of Slack, which others have adopted.
type slack struct {
	*Config
	url, channel string
	// username is nil for that of the reporting controller.
	username  func(*event.Event) string
	good, bad string
	fallback  bool
}

type slackMessage struct {
	Channel     string            `json:"channel"`
	Username    string            `json:"username"`
	IconURL     string            `json:"icon_url"`
	IconEmoji   string            `json:"icon_emoji"`
	Attachments []slackAttachment `json:"attachments"`
}

type slackAttachment struct {
	Fallback   string       `json:"fallback"`
	Color      string       `json:"color"`
	AuthorName string       `json:"author_name"`
	Text       string       `json:"text"`
	MrkdwnIn   []string     `json:"mrkdwn_in"`
	Fields     []slackField `json:"fields"`
}

type slackField struct {
	Title string `json:"title"`
	Value string `json:"value"`
	Short bool   `json:"short"`
}

func newSlack(c *Config) (Sender, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	return &slack{Config: c, url: u.String(), channel: c.Channel, username: orController(c), good: "good", bad: "danger", fallback: true}, nil
}

func newDiscord(c *Config) (Sender, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(u.Path, "/slack") {
		u = u.JoinPath("slack")
	}
	plain := *c
	plain.Token = "" // the address is the credential
	return &slack{Config: &plain, url: u.String(), username: orController(c), good: "good", bad: "danger"}, nil
}

func newRocket(c *Config) (Sender, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	plain := *c
	plain.Token = ""
	return &slack{
		Config: &plain, url: u.String(), channel: c.Channel, good: "#0076D7", bad: "#FF0000",
		username: func(*event.Event) string { return c.Username },
	}, nil
}

func orController(c *Config) func(*event.Event) string {
	return func(e *event.Event) string { return cmp.Or(c.Username, e.ReportingController) }
}

func (s *slack) Send(ctx context.Context, n *Notification) error {
	e := n.Event
	a := slackAttachment{
		Color: pick(e, s.good, s.bad), AuthorName: cut(dotted(e), maxAuthor), Text: e.Message,
		MrkdwnIn: []string{"text"}, Fields: []slackField{},
	}
	if s.fallback {
		a.Fallback = dotted(e) + ": " + firstLine(e.Message)
	}
	for _, f := range e.Fields() {
		a.Fields = append(a.Fields, slackField{Title: f.Key, Value: f.Value})
	}
	answer, err := s.postJSON(ctx, s.url, slackMessage{Channel: s.channel, Username: s.username(e), Attachments: []slackAttachment{a}}, s.bearer())
	if err != nil || s.url != slackAPI {
		return err
	}
	var verdict struct {
		OK    bool   `json:"ok"`
		Error string `json:"error"`
	}
	if err := json.Unmarshal(answer, &verdict); err != nil {
		return refused("Slack responded with something that is not JSON")
	}
	if !verdict.OK {
		e := refused("Slack responded with error: %s", verdict.Error)
		e.again = verdict.Error == "ratelimited" || verdict.Error == "internal_error" || verdict.Error == "service_unavailable"
		return e
	}
	return nil
}
