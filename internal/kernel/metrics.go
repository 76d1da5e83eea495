package kernel

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	objectLabels = []string{"kind", "name", "namespace"}

	reconcileDuration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "gotk_reconcile_duration_seconds",
		Help:    "The duration in seconds of a GitOps Toolkit resource reconciliation.",
		Buckets: prometheus.ExponentialBucketsRange(0.01, 1800, 10),
	}, objectLabels)

	lastReconcile = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gotk_last_reconcile_timestamp_seconds",
		Help: "When the last reconciliation of a resource ended, in seconds since the epoch.",
	}, objectLabels)

	panics = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gotk_recovered_panics_total",
		Help: "Panics of reconciliations and background jobs that were recovered.",
	}, []string{"kind"})

	eventsDropped = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gotk_events_dropped_total",
		Help: "Events that were not delivered to the notification address, by cause.",
	}, []string{"cause"})
)

func init() {
	metrics.Registry.MustRegister(reconcileDuration, lastReconcile, panics, eventsDropped)
}

func observe(kind string, name types.NamespacedName, took time.Duration) {
	reconcileDuration.WithLabelValues(kind, name.Name, name.Namespace).Observe(took.Seconds())
	lastReconcile.WithLabelValues(kind, name.Name, name.Namespace).SetToCurrentTime()
}

// forgetMetrics drops the series of an object that is no more.
func forgetMetrics(kind string, name types.NamespacedName) {
	reconcileDuration.DeleteLabelValues(kind, name.Name, name.Namespace)
	lastReconcile.DeleteLabelValues(kind, name.Name, name.Namespace)
}

func countPanic(kind string) { panics.WithLabelValues(kind).Inc() }
