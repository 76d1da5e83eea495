package notify

import (
	"context"
	"fmt"
	"sync"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/notify/dispatch"
	"github.com/gitops-toolkit/flux/internal/notify/providers"
)

var (
	alertKind    = notificationv1.GroupVersion.WithKind(notificationv1.AlertKind)
	providerKind = notificationv1.GroupVersion.WithKind(notificationv1.ProviderKind)
)

// outbox brings events to providers, while the process leads.
type outbox struct {
	m       *kernel.Manager
	senders *senders
	log     logr.Logger

	mu     sync.Mutex
	lines  *dispatch.Dispatcher
	before []dispatch.Item
}

// put queues an item; what comes before run has begun waits for it.
func (o *outbox) put(item dispatch.Item) {
	o.mu.Lock()
	lines := o.lines
	if lines == nil {
		o.before = append(o.before, item)
	}
	o.mu.Unlock()
	if lines != nil {
		lines.Enqueue(item)
	}
}

// run delivers until ctx ends and feed has returned, which puts items until then; after that it empties the
// queues for a while and spools the rest.
func (o *outbox) run(ctx context.Context, spool dispatch.Spool, feed func(context.Context) error) error {
	lines, err := dispatch.New(dispatch.Options{Deliver: o.deliver, Failed: o.failed, Group: windowOf, Patient: mustArrive, Spool: spool})
	if err != nil {
		o.log.Error(err, "events that an earlier process left were not read")
	}
	o.mu.Lock()
	o.lines = lines
	for _, item := range o.before {
		lines.Enqueue(item)
	}
	o.before = nil
	o.mu.Unlock()
	err = feed(ctx)
	if err := lines.Stop(drainTime); err != nil {
		o.log.Error(err, "events that were not delivered are lost")
	}
	return err
}

// deliver makes one attempt for items of one Provider and one Alert, and traces it.
func (o *outbox) deliver(ctx context.Context, items []dispatch.Item) error {
	ctx, span := otel.Tracer("github.com/gitops-toolkit/flux").Start(ctx, "deliver "+items[0].Type, trace.WithAttributes(
		attribute.String("provider", items[0].Provider.String()), attribute.String("alert", items[0].Alert.String()),
		attribute.String("object", items[0].Event.Object()), attribute.Int("events", len(items)),
	))
	defer span.End()
	err := o.attempt(ctx, items)
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	return err
}

func (o *outbox) attempt(ctx context.Context, items []dispatch.Item) error {
	p := &notificationv1.Provider{}
	err := o.m.Client().Get(ctx, items[0].Provider, p)
	if apierrors.IsNotFound(err) {
		o.senders.forget(items[0].Provider)
	}
	if err != nil {
		return fmt.Errorf("failed to read provider: %w", err)
	}
	a := &notificationv1.Alert{}
	err = o.m.Client().Get(ctx, items[0].Alert, a)
	if apierrors.IsNotFound(err) || p.Spec.Suspend || a.Spec.Suspend {
		return nil // nobody wants it any more
	}
	if err != nil {
		return fmt.Errorf("failed to read the alert: %w", err)
	}
	sender, err := o.senders.get(ctx, p)
	if err != nil {
		return err
	}
	all := make([]*providers.Notification, len(items))
	for i, item := range items {
		all[i] = &providers.Notification{Event: item.Event, Alert: a}
	}
	return sender.SendAll(ctx, all)
}

// failed reports an item that will not be delivered.
func (o *outbox) failed(item dispatch.Item, err error) {
	o.log.Error(err, "failed to send notification", "eventInvolvedObject", item.Event.InvolvedObject,
		"alert", map[string]string{"name": item.Alert.Name, "namespace": item.Alert.Namespace, "providerName": item.Provider.Name})
	a := &notificationv1.Alert{}
	if getErr := o.m.Client().Get(context.Background(), item.Alert, a); getErr != nil {
		return
	}
	o.warn(a, fmt.Sprintf("failed to send notification for %s: %v", item.Event.Object(), err))
}

func (o *outbox) warn(a *notificationv1.Alert, message string) {
	o.m.Record(a, alertKind, kernel.Warning("NotificationDispatchFailed", message, nil))
}
