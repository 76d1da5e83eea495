package providers

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

func init() { register(Type{Name: "telegram", MaxMessage: 3500, New: newTelegram}) }

const telegramAPI = "https://api.telegram.org"

type telegram struct {
	*Config
	chat   string
	thread int
}

// newTelegram reads chat and thread from the channel, as chat or chat:thread.
func newTelegram(c *Config) (Sender, error) {
	if err := c.needToken(); err != nil {
		return nil, err
	}
	if err := c.needChannel("the chat's id, and behind a colon that of a thread"); err != nil {
		return nil, err
	}
	t := &telegram{Config: c, chat: c.Channel}
	if chat, thread, found := strings.Cut(c.Channel, ":"); found {
		id, err := strconv.Atoi(thread)
		if err != nil {
			return nil, fmt.Errorf("spec.channel: %q is not the id of a thread, which is a number", thread)
		}
		t.chat, t.thread = chat, id
	}
	return t, nil
}

// telegramEscape puts a backslash before what means something in MarkdownV2.
var telegramEscape = strings.NewReplacer(func() (pairs []string) {
	for _, r := range "\\_*[]()~`>#+-=|{}.!" {
		pairs = append(pairs, string(r), `\`+string(r))
	}
	return pairs
}()...)

type telegramMessage struct {
	ChatID    string `json:"chat_id"`
	ThreadID  int    `json:"message_thread_id,omitempty"`
	Text      string `json:"text"`
	ParseMode string `json:"parse_mode"`
}

func (t *telegram) Send(ctx context.Context, n *Notification) error {
	e := n.Event
	o := e.InvolvedObject
	var b strings.Builder
	fmt.Fprintf(&b, "*%s %s*\n%s\n", pick(e, "💫", "🚨"),
		telegramEscape.Replace(strings.ToLower(o.Kind)+"/"+o.Name+"/"+o.Namespace), telegramEscape.Replace(e.Message))
	for _, f := range e.Fields() {
		fmt.Fprintf(&b, "\\- *%s*: %s\n", telegramEscape.Replace(f.Key), telegramEscape.Replace(f.Value))
	}
	_, err := t.postJSON(ctx, telegramAPI+"/bot"+t.Token+"/sendMessage",
		telegramMessage{ChatID: t.chat, ThreadID: t.thread, Text: b.String(), ParseMode: "MarkdownV2"}, nil)
	return err
}
