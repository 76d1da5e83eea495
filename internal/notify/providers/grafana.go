package providers

import (
	"context"
	"net/http"
	"strings"
)

func init() { register(Type{Name: "grafana", New: newGrafana}) }

type grafana struct {
	*Config
	url string
}

func newGrafana(c *Config) (Sender, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	return &grafana{Config: c, url: u.String()}, nil
}

func (g *grafana) Send(ctx context.Context, n *Notification) error {
	e := n.Event
	o := e.InvolvedObject
	// A colon splits a tag into name and value.
	plain := strings.NewReplacer(":", "|")
	tags := []string{"flux", e.ReportingController}
	for _, f := range e.Fields() {
		tags = append(tags, plain.Replace(f.Key)+": "+plain.Replace(f.Value))
	}
	tags = append(tags, "kind: "+o.Kind, "name: "+o.Name, "namespace: "+o.Namespace)
	payload := struct {
		When int64    `json:"when"`
		Text string   `json:"text"`
		Tags []string `json:"tags"`
	}{e.Timestamp.Unix(), dotted(e), tags}
	_, err := g.postJSON(ctx, g.url, payload, g.authorization())
	return err
}

// authorization is the token, else user and password.
func (g *grafana) authorization() http.Header {
	if g.Token == "" && g.Username != "" && g.Password != "" {
		return header("Authorization", basicAuth(g.Username, g.Password))
	}
	return g.bearer()
}
