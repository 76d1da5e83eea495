// Package providers sends events to services: one file a type, which registers itself.
//
// A Type makes a Sender from a Config, in which spec and Secrets of a Provider are plain values and
// an HTTP client knows its TLS files, proxy and limits. A Sender makes one attempt; the error tells
// whether another may help. Repeating, order and time are the dispatcher's business.
//
// What every type shares: payloads are JSON, any 2xx is success, redirects leave neither the host
// nor the method, no text of an error holds a credential, nothing is connected before the first
// event. The contract suite in contract_test.go holds every type to it.
package providers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/notify/alert"
	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// Notification is an event that an Alert sends.
type Notification struct {
	// Event with metadata under plain keys.
	Event *event.Event
	Alert *notificationv1.Alert
}

// Sender delivers to one service.
type Sender interface {
	// Send makes one attempt. See Error for what its errors say.
	Send(ctx context.Context, n *Notification) error
}

// BatchSender is a Sender that tells of several events at once: of one Alert, revision and severity.
type BatchSender interface {
	Sender
	SendAll(ctx context.Context, all []*Notification) error
}

// SendFunc is a Sender.
type SendFunc func(ctx context.Context, n *Notification) error

// Send implements Sender.
func (f SendFunc) Send(ctx context.Context, n *Notification) error { return f(ctx, n) }

// Type is one value of spec.type.
type Type struct {
	Name  string
	Class alert.Class
	// Window, when not zero, is how long events of one group are gathered for a BatchSender.
	Window time.Duration
	// Patient says that deliveries are repeated for as long as the event is news: nothing later says
	// again what a commit status, a comment or a mail says, and relays may want to be asked for minutes.
	Patient bool
	// MaxMessage, when not zero, is how much of a message is sent, in bytes: what the service takes, less room for all
	// else. A longer one would be refused as a whole.
	MaxMessage int
	// New makes a sender; its error says what is wrong with the Provider or its Secret.
	New func(c *Config) (Sender, error)
}

var known = map[string]Type{}

// register makes a type known. It is called by the type's file.
func register(t Type) {
	if _, twice := known[t.Name]; twice {
		panic("providers: " + t.Name + " is registered twice")
	}
	known[t.Name] = t
}

// Names lists all types.
func Names() []string { return slices.Sorted(maps.Keys(known)) }

// Find returns a type.
func Find(name string) (Type, error) {
	t, ok := known[name]
	if !ok {
		return Type{}, fmt.Errorf("provider %s not supported", name)
	}
	return t, nil
}
