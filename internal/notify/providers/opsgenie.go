package providers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
)

func init() { register(Type{Name: "opsgenie", MaxMessage: 15_000, New: newOpsgenie}) }

// maxTitle is the longest that Opsgenie shows.
const maxTitle = 130

type opsgenie struct {
	*Config
	url string
}

func newOpsgenie(c *Config) (Sender, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	return &opsgenie{Config: c, url: u.String()}, c.needToken()
}

func (o *opsgenie) Send(ctx context.Context, n *Notification) error {
	e := n.Event
	about := e.InvolvedObject
	details := map[string]string{}
	maps.Copy(details, e.Metadata)
	details["severity"] = e.Severity
	// Alerts with the same alias are one alert.
	alias := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%s/%s/%s", o.Provider.UID, about.Kind, about.Namespace, about.Name, e.Reason))
	payload := struct {
		Message     string            `json:"message"`
		Alias       string            `json:"alias"`
		Description string            `json:"description"`
		Details     map[string]string `json:"details"`
	}{cut(about.Kind+"/"+about.Name, maxTitle), hex.EncodeToString(alias[:]), e.Message, details}
	_, err := o.postJSON(ctx, o.url, payload, header("Authorization", "GenieKey "+o.Token))
	return err
}
