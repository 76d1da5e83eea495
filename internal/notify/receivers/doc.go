// Package receivers authenticates webhook calls: one file a type, which registers itself.
//
// A call comes here within its limits and is first authenticated, then looked into. All comparisons
// of secrets take the same time wherever they differ. What a call says is given back for filters; the
// reason of a refusal is for the log, the caller learns nothing of it.
//
// Calls are not kept from being repeated by somebody who has recorded one: the services sign no time.
// A repetition causes one more look at the source, which finds nothing new.
package receivers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
)

// Call is a webhook call.
type Call struct {
	Header http.Header
	Body   []byte
	// Receiver that it is for.
	Receiver *notificationv1.Receiver
	// Secret is the data of the Receiver's Secret, which has a token unless the type needs none.
	Secret map[string][]byte
}

// Result is what a call that was accepted says.
type Result struct {
	// Event is its name, for the log; empty where the service has none.
	Event string
	// Request is what filters see as req, in place of the body; nil: the body.
	Request map[string]any
	// Claims of a token, for filters; nil without one.
	Claims map[string]any
}

// Type is one value of spec.type.
type Type struct {
	Name string
	// Accept authenticates a call and looks into it.
	Accept func(ctx context.Context, o *OIDC, c *Call) (Result, error)
}

var known = map[string]Type{}

func register(t Type) {
	if _, twice := known[t.Name]; twice {
		panic("receivers: " + t.Name + " is registered twice")
	}
	known[t.Name] = t
}

// Names lists all types.
func Names() []string { return slices.Sorted(maps.Keys(known)) }

// Accept authenticates a call by the rules of its Receiver's type.
func Accept(ctx context.Context, o *OIDC, c *Call) (Result, error) {
	t, ok := known[c.Receiver.Spec.Type]
	if !ok {
		return Result{}, fmt.Errorf("receiver type %q is not supported", c.Receiver.Spec.Type)
	}
	return t.Accept(ctx, o, c)
}

// KeyToken is the key of the Secret with what calls are authenticated by.
const KeyToken = "token"

func (c *Call) token() []byte { return c.Secret[KeyToken] }

// allowed checks the name of an event against spec.events; none there allows all.
func (c *Call) allowed(what, event string) error {
	if len(c.Receiver.Spec.Events) == 0 {
		return nil
	}
	if slices.ContainsFunc(c.Receiver.Spec.Events, func(e string) bool { return strings.EqualFold(e, event) }) {
		return nil
	}
	return fmt.Errorf("the %s %q is not authorised", what, event)
}

// isJSON tells whether the call says that its body is JSON.
func (c *Call) isJSON() bool { return c.mediaType() == "application/json" }

func (c *Call) mediaType() string {
	t, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// JSON is what filters see as req: the body where it is JSON, else nothing.
func (c *Call) JSON() (map[string]any, error) {
	out := map[string]any{}
	if !c.isJSON() {
		return out, nil
	}
	if err := json.Unmarshal(c.Body, &out); err != nil || out == nil {
		return nil, errors.New("the body is not a JSON object")
	}
	return out, nil
}

// decode reads the body into the shape that a service has published.
func (c *Call) decode(what string, out any) error {
	if err := json.Unmarshal(c.Body, out); err != nil {
		return fmt.Errorf("cannot decode the %s webhook payload: %w", what, err)
	}
	return nil
}
