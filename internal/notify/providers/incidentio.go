package providers

import (
	"context"
	"maps"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/notify/event"
)

func init() { register(Type{Name: "incident.io", New: newIncidentIO}) }

type incidentIO struct {
	*Config
	url string
}

func newIncidentIO(c *Config) (Sender, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	return &incidentIO{Config: c, url: u.String()}, c.needToken()
}

type incidentAlert struct {
	Title       string            `json:"title"`
	Description string            `json:"description"`
	Status      string            `json:"status"`
	Key         types.UID         `json:"deduplication_key"`
	Metadata    map[string]string `json:"metadata"`
}

func (i *incidentIO) Send(ctx context.Context, n *Notification) error {
	e := n.Event
	if e.Reason == event.ReasonProgressing {
		return nil
	}
	metadata := map[string]string{}
	maps.Copy(metadata, e.Metadata)
	maps.Copy(metadata, map[string]string{"severity": e.Severity, "reason": e.Reason, "reportingController": e.ReportingController})
	_, err := i.postJSON(ctx, i.url, incidentAlert{
		Title: dotted(e) + ": " + e.Reason, Description: e.Message, Status: pick(e, "resolved", "firing"),
		Key: e.InvolvedObject.UID, Metadata: metadata,
	}, i.bearer())
	return err
}
