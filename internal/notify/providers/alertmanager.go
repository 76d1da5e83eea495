package providers

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/gitops-toolkit/flux/internal/notify/event"
)

func init() { register(Type{Name: "alertmanager", New: newAlertmanager}) }

type alertmanager struct {
	*Config
	url string
}

func newAlertmanager(c *Config) (Sender, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	return &alertmanager{Config: c, url: u.String()}, nil
}

type alertmanagerAlert struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

func (a *alertmanager) Send(ctx context.Context, n *Notification) error {
	e := n.Event
	o := e.InvolvedObject
	labels, annotations := map[string]string{}, map[string]string{"message": e.Message}
	maps.Copy(labels, e.Metadata)
	if summary, ok := labels[event.KeySummary]; ok {
		annotations["summary"] = summary
		delete(labels, event.KeySummary)
	}
	maps.Copy(labels, map[string]string{
		"alertname": "Flux" + o.Kind + titled(e.Reason), "severity": e.Severity, "reason": e.Reason,
		"kind": o.Kind, "name": o.Name, "namespace": o.Namespace, "reportingcontroller": e.ReportingController,
	})
	payload := []alertmanagerAlert{{Status: "firing", Labels: labels, Annotations: annotations, StartsAt: e.Timestamp.UTC()}}
	_, err := a.postJSON(ctx, a.url, payload, a.authorization())
	return err
}

// titled puts all but the first letter of a reason in lower case.
func titled(reason string) string {
	if reason == "" {
		return ""
	}
	return strings.ToUpper(reason[:1]) + strings.ToLower(reason[1:])
}

// authorization is that of user and password when both are there, else the token.
func (a *alertmanager) authorization() http.Header {
	if a.Username != "" && a.Password != "" {
		return header("Authorization", basicAuth(a.Username, a.Password))
	}
	return a.bearer()
}
