// Package intake is the server that controllers post their events to.
//
// Each request goes through the same steps: limits, decoding, clean-up of metadata, the rate limit
// that drops repetitions, and then routing, which finds the Alerts that want the event and puts it
// into the queues of their providers. Routing never waits for a provider, so the answer is quick,
// and it is always 202 once an event is taken: whether somebody wants it is not the sender's concern.
// An event that cannot be routed at this time was not taken: it may come again.
package intake

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/gitops-toolkit/flux/internal/notify/event"
	"github.com/gitops-toolkit/flux/internal/notify/inbound"
)

// Route takes an event that is new. After an error it has not done so, and the event may come again.
type Route func(ctx context.Context, e *event.Event) error

// routeTimeout bounds the routing of an event, which does not end with the sender's patience.
const routeTimeout = 30 * time.Second

// errClosed is the fate of events after Close.
var errClosed = errors.New("events are not taken any more")

// Handler answers requests with events at any path.
type Handler struct {
	route   Route
	limiter *Limiter
	budget  *inbound.Budget
	log     logr.Logger

	mu      sync.Mutex
	closed  bool
	routing sync.WaitGroup
}

// NewHandler returns a handler that hands events to route.
func NewHandler(route Route, limiter *Limiter, log logr.Logger) *Handler {
	return &Handler{route: route, limiter: limiter, budget: inbound.NewBudget(), log: log}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, release, err := h.budget.Read(w, r)
	defer release()
	if err != nil {
		h.log.Error(err, "reading the request body failed")
		w.WriteHeader(inbound.Status(err))
		return
	}
	e, err := event.Decode(body)
	if err != nil {
		h.log.Error(err, "decoding the request body failed")
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	key := e.Key(e.Clean())
	fresh, reset := h.limiter.Take(key)
	if fresh {
		if err := h.take(r.Context(), e); err != nil {
			h.limiter.Forget(key)
			h.log.Error(err, "an event was not taken", "object", e.Object())
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
	}
	at := reset.UTC().Format(http.TimeFormat)
	w.Header().Set("X-Ratelimit-Limit", "1")
	w.Header().Set("X-Ratelimit-Remaining", "0")
	w.Header().Set("X-Ratelimit-Reset", at)
	if !fresh {
		w.Header().Set("Retry-After", at)
		http.Error(w, http.StatusText(http.StatusTooManyRequests), http.StatusTooManyRequests)
		h.log.V(1).Info("discarding event, rate limiting duplicate events", "object", e.Object())
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// take routes an event to its end: a sender that goes away comes again, and is told then that the event was taken.
func (h *Handler) take(ctx context.Context, e *event.Event) error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return errClosed
	}
	h.routing.Add(1)
	h.mu.Unlock()
	defer h.routing.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), routeTimeout)
	defer cancel()
	return h.route(ctx, e)
}

// Close lets no event in any more, and waits a while for those that are being routed.
func (h *Handler) Close(wait time.Duration) {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	done := make(chan struct{})
	go func() { h.routing.Wait(); close(done) }()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
