// Package intake is the server that controllers post their events to.
//
// Each request goes through the same steps: limits, decoding, clean-up of metadata, the rate limit
// that drops repetitions, and then routing, which finds the Alerts that want the event and puts it
// into the queues of their providers. Routing never waits for a provider, so the answer is quick,
// and it is always 202 once an event is taken: whether somebody wants it is not the sender's concern.
package intake

import (
	"context"
	"net/http"

	"github.com/go-logr/logr"

	"github.com/gitops-toolkit/flux/internal/notify/event"
	"github.com/gitops-toolkit/flux/internal/notify/inbound"
)

// Route takes an event that is new.
type Route func(ctx context.Context, e *event.Event)

// Handler answers requests with events at any path.
type Handler struct {
	route   Route
	limiter *Limiter
	budget  *inbound.Budget
	log     logr.Logger
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
	fresh, reset := h.limiter.Take(e.Key(e.Clean()))
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
	h.route(r.Context(), e)
	w.WriteHeader(http.StatusAccepted)
}
