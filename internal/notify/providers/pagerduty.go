package providers

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/notify/event"
)

func init() { register(Type{Name: "pagerduty", MaxMessage: 300_000, New: newPagerDuty}) }

type pagerDuty struct {
	*Config
	base string
}

func newPagerDuty(c *Config) (Sender, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	base := url.URL{Scheme: u.Scheme, Host: u.Host}
	return &pagerDuty{Config: c, base: base.String()}, c.needChannel("the routing key")
}

type pagerDutyEvent struct {
	RoutingKey string            `json:"routing_key"`
	Action     string            `json:"event_action"`
	DedupKey   types.UID         `json:"dedup_key"`
	Payload    *pagerDutyPayload `json:"payload,omitempty"`
}

type pagerDutyChange struct {
	RoutingKey string           `json:"routing_key"`
	Payload    pagerDutyPayload `json:"payload"`
}

type pagerDutyPayload struct {
	Summary   string           `json:"summary"`
	Source    string           `json:"source"`
	Severity  string           `json:"severity,omitempty"`
	Timestamp string           `json:"timestamp"`
	Component string           `json:"component,omitempty"`
	Group     string           `json:"group,omitempty"`
	Details   pagerDutyDetails `json:"custom_details"`
}

type pagerDutyDetails struct {
	Message  string            `json:"message"`
	Metadata map[string]string `json:"metadata"`
}

// Send opens an incident for a failure. Good news closes it and is a change event too.
func (p *pagerDuty) Send(ctx context.Context, n *Notification) error {
	e := n.Event
	if e.Reason == event.ReasonProgressing {
		return nil
	}
	o := e.InvolvedObject
	payload := pagerDutyPayload{
		Summary: fmt.Sprintf("%s: %s/%s", words(e.Reason), strings.ToLower(o.Kind), o.Name), Source: "Flux " + e.ReportingController,
		Timestamp: e.Timestamp.UTC().Format("2006-01-02T15:04:05Z07:00"), Details: pagerDutyDetails{e.Message, e.Metadata},
	}
	message := pagerDutyEvent{RoutingKey: p.Channel, Action: "resolve", DedupKey: o.UID}
	if e.IsError() {
		problem := payload
		problem.Severity, problem.Component, problem.Group = "error", o.Name, o.Kind
		message.Action, message.Payload = "trigger", &problem
	}
	if _, err := p.postJSON(ctx, p.base+"/v2/enqueue", message, nil); err != nil || e.IsError() {
		return err
	}
	_, err := p.postJSON(ctx, p.base+"/v2/change/enqueue", pagerDutyChange{p.Channel, payload}, nil)
	return err
}
