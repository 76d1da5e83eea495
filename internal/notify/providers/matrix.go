package providers

import (
	"context"
	"crypto/sha1" // a name for a transaction, not a proof
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

func init() { register(Type{Name: "matrix", MaxMessage: 40_000, New: newMatrix}) }

type matrix struct {
	*Config
	server *url.URL
}

func newMatrix(c *Config) (Sender, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	return &matrix{Config: c, server: u}, c.needChannel("the id of a room")
}

// Send puts the message under a transaction id made of the event, so that a repeated attempt does not
// show up twice.
func (m *matrix) Send(ctx context.Context, n *Notification) error {
	e := n.Event
	data, err := json.Marshal(e)
	if err != nil {
		return refused("the event cannot be encoded: %v", err)
	}
	sum := sha1.Sum(data)
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n%s\n", pick(e, "💫", "🚨"), dotted(e), e.Message)
	for _, f := range e.Fields() {
		fmt.Fprintf(&b, "- %s: %s\n", f.Key, f.Value)
	}
	at := strings.TrimSuffix(m.server.String(), "/") + "/_matrix/client/r0/rooms/" + url.PathEscape(m.Channel) +
		"/send/m.room.message/" + hex.EncodeToString(sum[:])
	_, err = m.sendJSON(ctx, http.MethodPut, at, map[string]string{"body": b.String(), "msgtype": "m.text"}, m.bearer())
	return err
}
