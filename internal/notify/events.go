package notify

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/gitops-toolkit/flux/internal/notify/inbound"
	"github.com/gitops-toolkit/flux/internal/notify/intake"
)

// closeTime is how long a stop waits for events that are being routed.
const closeTime = time.Second

// serveEvents puts the intake at the events address.
func serveEvents(r *router, o Options) (*intake.Handler, error) {
	counts := inbound.NewMetrics("gotk_event", o.PathMetrics)
	if err := counts.Register(metrics.Registry); err != nil {
		return nil, err
	}
	handler := intake.NewHandler(r.route, intake.NewLimiter(o.RateLimitInterval), r.log)
	o.Events("/", counts.Wrap("/", handler))
	return handler, nil
}

// untilClosed lets feed work until the intake is closed after the end of ctx: what was taken must be in a queue before
// the queues are written.
func untilClosed(events *intake.Handler, feed func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		taking, end := context.WithCancel(context.WithoutCancel(ctx))
		defer end()
		stop := context.AfterFunc(ctx, func() {
			events.Close(closeTime)
			end()
		})
		defer stop()
		return feed(taking)
	}
}
