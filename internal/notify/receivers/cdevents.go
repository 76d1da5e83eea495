package receivers

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"time"
)

func init() { register(Type{Name: "cdevents", Accept: acceptCDEvents}) }

var (
	cdType    = regexp.MustCompile(`^dev\.cdevents\.([a-z]+)\.([a-z]+)\.[0-9]+\.[0-9]+\.[0-9]+(-[a-z0-9.-]+)?$`)
	cdVersion = regexp.MustCompile(`^0\.[0-4]\.[0-9]+(-[a-z0-9.-]+)?$`)
)

// cdEvent is what every event of the CDEvents specification has.
type cdEvent struct {
	Context struct {
		Version   string `json:"version"`
		ID        string `json:"id"`
		Source    string `json:"source"`
		Type      string `json:"type"`
		Timestamp string `json:"timestamp"`
	} `json:"context"`
	Subject struct {
		ID      string          `json:"id"`
		Type    string          `json:"type"`
		Content json.RawMessage `json:"content"`
	} `json:"subject"`
}

// acceptCDEvents takes events of the CDEvents specification, up to version 0.4. They carry no
// signature: the path is the only secret.
func acceptCDEvents(_ context.Context, _ *OIDC, c *Call) (Result, error) {
	name := c.Header.Get("Ce-Type")
	if err := c.allowed("CDEvent", name); err != nil {
		return Result{}, err
	}
	var e cdEvent
	if err := c.decode("CDEvents", &e); err != nil {
		return Result{}, err
	}
	return Result{Event: "CDEvent: " + clip(name)}, e.check()
}

func (e *cdEvent) check() error {
	bad := func(field, why string) error { return fmt.Errorf("unable to validate CDEvent: %s %s", field, why) }
	if !cdVersion.MatchString(e.Context.Version) {
		return bad("context.version", "is not one of the specification up to 0.4")
	}
	if e.Context.ID == "" || e.Context.Source == "" || e.Subject.ID == "" {
		return bad("context.id, context.source or subject.id", "is missing")
	}
	kind := cdType.FindStringSubmatch(e.Context.Type)
	if kind == nil {
		return bad("context.type", "is not the name of an event with its version")
	}
	if _, err := time.Parse(time.RFC3339Nano, e.Context.Timestamp); err != nil {
		return bad("context.timestamp", "is not a time")
	}
	var content map[string]any
	if err := json.Unmarshal(e.Subject.Content, &content); err != nil || content == nil {
		return bad("subject.content", "is not an object")
	}
	return nil
}
