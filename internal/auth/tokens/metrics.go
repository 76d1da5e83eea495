package tokens

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/gitops-toolkit/flux/internal/subject"
)

// Metrics of all caches of the process together; they are there once there is a cache.
var (
	events = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gotk_token_cache_events_total",
		Help: "Total number of cache retrieval events for a Gitops Toolkit resource reconciliation.",
	}, []string{"event_type", "kind", "name", "namespace", "operation"})
	requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gotk_token_cache_requests_total",
		Help: "Total number of cache requests partioned by success or failure.",
	}, []string{"status"})
	evictions = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gotk_token_cache_evictions_total", Help: "Total number of cache evictions.",
	})
	items = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gotk_token_cached_items", Help: "Total number of items in the cache.",
	})
)

var register = sync.OnceFunc(func() {
	metrics.Registry.MustRegister(events, requests, evictions, items)
	subject.OnGone(func(kind, namespace, name string) {
		events.DeletePartialMatch(prometheus.Labels{"kind": kind, "namespace": namespace, "name": name})
	})
})

// asked counts a look into a cache.
func asked(ctx context.Context, hit bool) {
	s, ok := subject.Of(ctx)
	if !ok {
		return
	}
	event := "cache_miss"
	if hit {
		event = "cache_hit"
	}
	events.WithLabelValues(event, s.Kind, s.Name, s.Namespace, s.Operation).Inc()
}

// answered counts a request for a new value.
func answered(err error) {
	status := "success"
	if err != nil {
		status = "failure"
	}
	requests.WithLabelValues(status).Inc()
}
