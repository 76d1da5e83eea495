// Package notify is notification-controller: events out, webhooks in.
//
// # Events
//
// Controllers post events to the intake (package intake). The router asks every Alert (package
// alert) whether it wants an event, and puts it into the line of the Alert's Provider (package
// dispatch). The line's worker finds the Provider's sender (package providers), made anew when the
// Provider or one of its Secrets has changed, and sends. What goes wrong becomes a Kubernetes event
// on the Alert. What an Alert wants to have gathered, or told only when it lasts, waits with the
// gatherer before. Of objects that are known to fail, the gatherer follows the condition Ready: some
// work again, or are deleted, without an event.
//
// What a stop leaves, and of which failures people know, is kept in a ConfigMap (keep.go).
//
// Alerts and Providers have no status and are not reconciled: they count from the moment that the
// cache knows them. Only finalizers that older versions left on them are removed.
//
// # Webhooks
//
// A Receiver is reconciled: its status holds the path under which it listens. The webhook server
// looks up the path, authenticates the call by the rules of the Receiver's type (package receivers),
// and asks the Receiver's resources for a reconciliation by annotation, once for each push (package
// push), however many Receivers hear of it.
package notify

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/notify/dispatch"
	"github.com/gitops-toolkit/flux/internal/notify/providers"
)

// Options of the controller.
type Options struct {
	// Events and Hooks serve a handler at a pattern of http.ServeMux at the controller's two
	// addresses, while the process leads.
	Events, Hooks func(pattern string, handler http.Handler)
	// RateLimitInterval is how long an event that came before is dropped.
	RateLimitInterval time.Duration
	// PathMetrics labels HTTP metrics with the path of each request.
	PathMetrics bool
	// Clouds gets the identities of Providers without a token.
	Clouds *cloud.Clouds
	// DefaultAccount is the ServiceAccount of Providers that name none.
	DefaultAccount string
	// PublicOnly forbids addresses of Providers and token issuers that are not of the internet.
	PublicOnly bool
	// Dir is where events that a stop leaves are spooled when the API server does not take them; empty: nowhere.
	Dir string
}

// drainTime is how long queues are emptied at a stop; the pod has ten seconds in all.
const drainTime = 4 * time.Second

// Register adds the controller's kinds and servers to a manager.
func Register(m *kernel.Manager, o Options) error {
	if o.Events == nil || o.Hooks == nil {
		return errors.New("notify: an option is missing")
	}
	policy := providers.Policy{PublicOnly: o.PublicOnly}
	secrets := newSecrets(m)
	out := &outbox{m: m, senders: newSenders(m, secrets, policy, o), log: ctrllog.Log.WithName("event-server")}
	router := newRouter(m, out)
	kept := &keeper{client: m.Client(), name: memoryName(m.Settings()), dir: o.Dir, log: out.log}
	router.gather = newGatherer(router, out.senders.mails, kept)
	events, err := serveEvents(router, o)
	if err != nil {
		return err
	}
	m.Add(func(ctx context.Context) error {
		kept.begin(ctx)
		defer router.gather.remember() // mails that were sent meanwhile too
		return out.run(ctx, spool{kept}, untilClosed(events, router.gather.run))
	})
	if err := followStatic(m); err != nil {
		return err
	}
	return registerReceivers(m, secrets, policy, o)
}

// memoryName is the ConfigMap that outlives the pod; each shard has its own, as it has its own lease.
func memoryName(s kernel.Settings) types.NamespacedName {
	return types.NamespacedName{Namespace: s.RuntimeNamespace, Name: notificationv1.MemoryName + kernel.ShardSuffix(s.WatchLabelSelector)}
}

// mustArrive tells of items whose provider has to hear of them, and not only soon.
func mustArrive(item dispatch.Item) bool {
	t, err := providers.Find(item.Type)
	return err == nil && t.Patient
}

// windowOf is how long events of one group are gathered for a provider's type.
func windowOf(item dispatch.Item) (key string, window time.Duration) {
	t, err := providers.Find(item.Type)
	if err != nil || t.Window == 0 {
		return "", 0
	}
	e := item.Event
	revision := cmp.Or(e.Metadata["revision"], e.Metadata["originRevision"])
	return item.Alert.String() + "/" + e.Severity + "/" + revision, t.Window
}
