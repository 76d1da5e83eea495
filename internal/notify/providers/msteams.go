package providers

import (
	"context"
	"strings"

	"github.com/gitops-toolkit/flux/internal/notify/event"
)

func init() { register(Type{Name: "msteams", MaxMessage: 18_000, New: newTeams}) }

// legacyTeams are the connectors that take message cards; all other addresses take adaptive cards.
const legacyTeams = ".webhook.office.com"

type teams struct {
	*Config
	url    string
	legacy bool
}

func newTeams(c *Config) (Sender, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	return &teams{Config: c, url: u.String(), legacy: strings.HasSuffix(u.Hostname(), legacyTeams)}, nil
}

func (t *teams) Send(ctx context.Context, n *Notification) error {
	var payload any = adaptiveCard(n.Event)
	if t.legacy {
		payload = messageCard(n.Event)
	}
	_, err := t.postJSON(ctx, t.url, payload, nil)
	return err
}

// facts are the metadata, the summary first.
func facts(e *event.Event) []event.Field {
	var out []event.Field
	if v, ok := e.Metadata[event.KeySummary]; ok {
		out = append(out, event.Field{Key: event.KeySummary, Value: v})
	}
	for _, f := range e.Fields() {
		if f.Key != event.KeySummary {
			out = append(out, f)
		}
	}
	return out
}

type teamsCard struct {
	Type       string         `json:"@type"`
	Context    string         `json:"@context"`
	ThemeColor string         `json:"themeColor"`
	Summary    string         `json:"summary"`
	Sections   []teamsSection `json:"sections"`
}

type teamsSection struct {
	ActivityTitle    string      `json:"activityTitle"`
	ActivitySubtitle string      `json:"activitySubtitle"`
	Facts            []teamsFact `json:"facts"`
}

type teamsFact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func messageCard(e *event.Event) teamsCard {
	section := teamsSection{ActivityTitle: e.Message, ActivitySubtitle: dotted(e), Facts: []teamsFact{}}
	for _, f := range facts(e) {
		section.Facts = append(section.Facts, teamsFact{f.Key, f.Value})
	}
	return teamsCard{
		Type: "MessageCard", Context: "http://schema.org/extensions",
		ThemeColor: pick(e, "0076D7", "FF0000"), Summary: dotted(e), Sections: []teamsSection{section},
	}
}

type adaptiveMessage struct {
	Type        string               `json:"type"`
	Attachments []adaptiveAttachment `json:"attachments"`
}

type adaptiveAttachment struct {
	ContentType string          `json:"contentType"`
	Content     adaptiveContent `json:"content"`
}

type adaptiveContent struct {
	Schema  string              `json:"$schema"`
	Type    string              `json:"type"`
	Version string              `json:"version"`
	Body    []adaptiveContainer `json:"body"`
	Teams   adaptiveTeams       `json:"msteams"`
}

type adaptiveTeams struct {
	Width string `json:"width"`
}

type adaptiveContainer struct {
	Type  string         `json:"type"`
	Items []adaptiveItem `json:"items"`
}

type adaptiveItem struct {
	Type   string         `json:"type"`
	Text   string         `json:"text,omitempty"`
	Size   string         `json:"size,omitempty"`
	Weight string         `json:"weight,omitempty"`
	Color  string         `json:"color,omitempty"`
	Wrap   bool           `json:"wrap,omitempty"`
	Facts  []adaptiveFact `json:"facts,omitempty"`
}

type adaptiveFact struct {
	Title string `json:"title"`
	Value string `json:"value"`
}

func adaptiveCard(e *event.Event) adaptiveMessage {
	items := []adaptiveItem{
		{Type: "TextBlock", Text: dotted(e), Size: "large", Weight: "bolder", Wrap: true},
		{Type: "TextBlock", Text: e.Message, Color: pick(e, "", "attention"), Wrap: true},
	}
	if all := facts(e); len(all) > 0 {
		set := adaptiveItem{Type: "FactSet"}
		for _, f := range all {
			set.Facts = append(set.Facts, adaptiveFact{f.Key, f.Value})
		}
		items = append(items, set)
	}
	return adaptiveMessage{Type: "message", Attachments: []adaptiveAttachment{{
		ContentType: "application/vnd.microsoft.card.adaptive",
		Content: adaptiveContent{
			Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.4",
			Body:  []adaptiveContainer{{Type: "Container", Items: items}},
			Teams: adaptiveTeams{Width: "Full"},
		},
	}}}
}
