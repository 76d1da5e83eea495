package providers

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"

	"github.com/gitops-toolkit/flux/internal/notify/alert"
)

func init() {
	register(Type{Name: "generic", Class: alert.Raw, New: newGeneric})
	register(Type{Name: "generic-hmac", Class: alert.Raw, New: newGenericHMAC})
}

// generic posts the event as it is, signed with key where there is one.
type generic struct {
	*Config
	url string
	key []byte
}

func newGeneric(c *Config) (Sender, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	return &generic{Config: c, url: u.String()}, nil
}

func newGenericHMAC(c *Config) (Sender, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	return &generic{Config: c, url: u.String(), key: []byte(c.Token)}, c.needToken()
}

func (g *generic) Send(ctx context.Context, n *Notification) error {
	body, err := json.Marshal(n.Event)
	if err != nil {
		return refused("the event cannot be encoded: %v", err)
	}
	h := header("Content-Type", "application/json", "Gotk-Component", n.Event.ReportingController)
	if len(g.key) > 0 {
		mac := hmac.New(sha256.New, g.key)
		mac.Write(body)
		h.Set("X-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	for k, v := range g.Headers {
		h.Set(k, v)
	}
	_, err = g.do(ctx, request{method: http.MethodPost, url: g.url, header: h, body: body})
	return err
}
