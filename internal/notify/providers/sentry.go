package providers

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

func init() { register(Type{Name: "sentry", MaxMessage: 8192, New: newSentry}) }

// sentry posts envelopes to the project that a DSN names: https://<key>@<host>/<path>/<project>.
type sentry struct {
	*Config
	url, auth string
}

func newSentry(c *Config) (Sender, error) {
	dsn, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	project := path.Base(dsn.Path)
	if dsn.User == nil || dsn.User.Username() == "" || project == "/" || project == "." {
		return nil, errors.New("address is not a Sentry DSN of the form https://<key>@<host>/<project>")
	}
	at := url.URL{Scheme: dsn.Scheme, Host: dsn.Host, Path: strings.TrimSuffix(path.Dir(dsn.Path), "/") + "/api/" + project + "/envelope/"}
	auth := "Sentry sentry_version=7, sentry_client=flux/1, sentry_key=" + dsn.User.Username()
	return &sentry{Config: c, url: at.String(), auth: auth}, nil
}

// maxTag is the longest name of a transaction, and value of a tag; longer ones are dropped by Sentry.
const maxTag = 200

type sentryItem struct {
	EventID     string                       `json:"event_id"`
	Type        string                       `json:"type,omitempty"`
	Timestamp   time.Time                    `json:"timestamp"`
	Start       *time.Time                   `json:"start_timestamp,omitempty"`
	Platform    string                       `json:"platform"`
	Level       string                       `json:"level,omitempty"`
	Environment string                       `json:"environment,omitempty"`
	ServerName  string                       `json:"server_name,omitempty"`
	Transaction string                       `json:"transaction"`
	Message     string                       `json:"message,omitempty"`
	Tags        map[string]string            `json:"tags,omitempty"`
	Contexts    map[string]map[string]string `json:"contexts,omitempty"`
}

func (s *sentry) Send(ctx context.Context, n *Notification) error {
	e := n.Event
	o := e.InvolvedObject
	item := sentryItem{
		EventID: randomHex(16), Timestamp: e.Timestamp.UTC(), Platform: "go", Environment: s.Channel,
		ServerName: e.ReportingController, Transaction: cut(o.Kind+": "+o.Namespace+"/"+o.Name, maxTag), Message: e.Message,
	}
	kind := "event"
	if e.IsError() {
		item.Level = "error"
		if len(e.Metadata) > 0 {
			item.Contexts = map[string]map[string]string{"metadata": e.Metadata}
		}
	} else {
		kind = "transaction"
		item.Type, item.Start = "transaction", &item.Timestamp
		item.Contexts = map[string]map[string]string{"trace": {
			"trace_id": randomHex(16), "span_id": randomHex(8), "op": "event", "description": e.Message, "status": "ok",
		}}
		item.Tags = map[string]string{}
		maps.Copy(item.Tags, e.Metadata)
		maps.Copy(item.Tags, map[string]string{
			"flux_involved_object_kind": o.Kind, "flux_involved_object_name": o.Name, "flux_involved_object_namespace": o.Namespace,
			"flux_reporting_controller": e.ReportingController, "flux_reporting_instance": e.ReportingInstance, "flux_reason": e.Reason,
		})
		for name, value := range item.Tags {
			item.Tags[name] = cut(value, maxTag)
		}
	}
	body, err := envelope(kind, item)
	if err != nil {
		return refused("the event cannot be encoded: %v", err)
	}
	_, err = s.do(ctx, request{
		method: http.MethodPost, url: s.url, body: body,
		header: header("Content-Type", "application/x-sentry-envelope", "X-Sentry-Auth", s.auth),
	})
	return err
}

// envelope is a header, the header of one item and the item, each on a line.
func envelope(kind string, item sentryItem) ([]byte, error) {
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	sent := map[string]any{"event_id": item.EventID, "sent_at": time.Now().UTC()}
	err := errors.Join(out.Encode(sent), out.Encode(map[string]string{"type": kind}), out.Encode(item))
	return b.Bytes(), err
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
