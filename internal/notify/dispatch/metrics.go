package dispatch

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// Results of deliveries, as the metrics name them.
const (
	resultDelivered = "delivered"
	resultRefused   = "refused"
	resultFailed    = "failed"
	resultExpired   = "expired"
	resultDropped   = "dropped"
)

var (
	deliveries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gotk_notification_deliveries_total",
		Help: "Events by type of provider and what became of them: delivered, refused (another attempt cannot help), failed (all attempts did), expired, dropped (the queue was full).",
	}, []string{"type", "result"})

	attempts = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "gotk_notification_attempt_duration_seconds",
		Help:    "Time that single attempts to deliver took, by type of provider.",
		Buckets: prometheus.ExponentialBuckets(0.005, 3, 8),
	}, []string{"type"})

	latency = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "gotk_notification_latency_seconds",
		Help:    "Time from receiving an event to its delivery, by type of provider.",
		Buckets: prometheus.ExponentialBuckets(0.005, 3, 10),
	}, []string{"type"})

	queued = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gotk_notification_queue_depth",
		Help: "Events that wait for delivery or are being delivered, by type of provider.",
	}, []string{"type"})
)

func init() { metrics.Registry.MustRegister(deliveries, attempts, latency, queued) }

func observe(item Item, result string) {
	deliveries.WithLabelValues(item.Type, result).Inc()
	if result == resultDelivered {
		latency.WithLabelValues(item.Type).Observe(time.Since(item.Received).Seconds())
	}
}

func took(item Item, began time.Time) {
	attempts.WithLabelValues(item.Type).Observe(time.Since(began).Seconds())
}

func depth(item Item, change float64) { queued.WithLabelValues(item.Type).Add(change) }
