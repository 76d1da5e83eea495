package providers

import (
	"context"
)

func init() { register(Type{Name: "googlechat", MaxMessage: 20_000, New: newGoogleChat}) }

type googleChat struct {
	*Config
	url string
}

func newGoogleChat(c *Config) (Sender, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	return &googleChat{Config: c, url: u.String()}, nil
}

// The cards of version 1, with the fields that are never set, because that is what receivers of
// these messages have always got.
type chatCard struct {
	Header   chatHeader    `json:"header"`
	Sections []chatSection `json:"sections"`
}

type chatHeader struct {
	Title      string  `json:"title"`
	Subtitle   string  `json:"subtitle"`
	ImageURL   *string `json:"imageUrl"`
	ImageStyle *string `json:"imageStyle"`
}

type chatSection struct {
	Header  string       `json:"header"`
	Widgets []chatWidget `json:"widgets"`
}

type chatWidget struct {
	TextParagraph *chatText     `json:"textParagraph"`
	KeyValue      *chatKeyValue `json:"keyValue"`
}

type chatText struct {
	Text string `json:"text"`
}

type chatKeyValue struct {
	TopLabel         string  `json:"topLabel"`
	Content          string  `json:"content"`
	ContentMultiline bool    `json:"contentMultiline"`
	BottomLabel      *string `json:"bottomLabel"`
	Icon             *string `json:"icon"`
}

func (g *googleChat) Send(ctx context.Context, n *Notification) error {
	e := n.Event
	message := e.Message
	if e.IsError() {
		message = `<font color="#ff0000">` + message + "</font>"
	}
	card := chatCard{
		Header:   chatHeader{Title: dotted(e), Subtitle: e.ReportingController},
		Sections: []chatSection{{Widgets: []chatWidget{{TextParagraph: &chatText{Text: message}}}}},
	}
	var widgets []chatWidget
	for _, f := range e.Fields() {
		widgets = append(widgets, chatWidget{KeyValue: &chatKeyValue{TopLabel: f.Key, Content: f.Value}})
	}
	if len(widgets) > 0 {
		card.Sections = append(card.Sections, chatSection{Widgets: widgets})
	}
	_, err := g.postJSON(ctx, g.url, map[string]any{"cards": []chatCard{card}}, nil)
	return err
}
