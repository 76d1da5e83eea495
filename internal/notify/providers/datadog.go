package providers

import (
	"context"
	"fmt"
	"net/url"
	"strings"
)

func init() { register(Type{Name: "datadog", MaxMessage: 4000, New: newDatadog}) }

type datadog struct {
	*Config
	url string
}

func newDatadog(c *Config) (Sender, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	u = &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/api/v1/events"}
	return &datadog{Config: c, url: u.String()}, c.needToken()
}

type datadogEvent struct {
	Title          string   `json:"title"`
	Text           string   `json:"text"`
	Tags           []string `json:"tags"`
	AlertType      string   `json:"alert_type"`
	SourceTypeName string   `json:"source_type_name"`
	DateHappened   int64    `json:"date_happened,omitempty"`
}

func (d *datadog) Send(ctx context.Context, n *Notification) error {
	e := n.Event
	o := e.InvolvedObject
	tags := []string{
		"flux_reporting_controller:" + e.ReportingController, "flux_reason:" + e.Reason,
		"kube_kind:" + o.Kind, "kube_name:" + o.Name, "kube_namespace:" + o.Namespace,
	}
	for _, f := range e.Fields() {
		tags = append(tags, f.Key+":"+f.Value)
	}
	for i := range tags {
		tags[i] = strings.ToLower(tags[i])
	}
	message := datadogEvent{
		Title: fmt.Sprintf("Events from the %s %s/%s", o.Kind, o.Name, o.Namespace), Text: e.Message, Tags: tags,
		AlertType: pick(e, "info", "error"), SourceTypeName: "fluxcd",
	}
	if !e.Timestamp.IsZero() {
		message.DateHappened = e.Timestamp.Unix()
	}
	_, err := d.postJSON(ctx, d.url, message, header("DD-API-KEY", d.Token))
	return err
}
