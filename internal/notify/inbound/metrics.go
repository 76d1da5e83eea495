package inbound

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of one server, under the names of the tables.
type Metrics struct {
	duration, size *prometheus.HistogramVec
	inflight       *prometheus.GaugeVec
	paths          bool
}

// NewMetrics makes the metrics with a prefix such as gotk_event. With paths, the label handler is the
// path of each request; otherwise it is the route.
func NewMetrics(prefix string, paths bool) *Metrics {
	labels := []string{"service", "handler", "method", "code"}
	return &Metrics{
		paths: paths,
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "_http_request_duration_seconds", Help: "The latency of the HTTP requests.",
		}, labels),
		size: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "_http_response_size_bytes", Help: "The size of the HTTP responses.",
			Buckets: prometheus.ExponentialBuckets(100, 10, 8),
		}, labels),
		inflight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: prefix + "_http_requests_inflight", Help: "The number of inflight requests being handled at the same time.",
		}, labels[:2]),
	}
}

// Register adds the metrics to a registry. Metrics that are there already, from an earlier life of the
// same server in this process, are used on.
func (m *Metrics) Register(r prometheus.Registerer) error {
	for _, c := range []**prometheus.HistogramVec{&m.duration, &m.size} {
		if err := reuse(r, c); err != nil {
			return err
		}
	}
	return reuse(r, &m.inflight)
}

func reuse[T prometheus.Collector](r prometheus.Registerer, c *T) error {
	err := r.Register(*c)
	if already, ok := err.(prometheus.AlreadyRegisteredError); ok { //nolint:errorlint // it is never wrapped
		if old, ok := already.ExistingCollector.(T); ok {
			*c = old
			return nil
		}
	}
	return err
}

// Wrap measures what next answers on a route.
func (m *Metrics) Wrap(route string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler := route
		if m.paths {
			handler = r.URL.Path
		}
		inflight := m.inflight.WithLabelValues("", handler)
		inflight.Inc()
		defer inflight.Dec()
		began := time.Now()
		a := &answer{ResponseWriter: w, code: http.StatusOK}
		defer func() {
			labels := []string{"", handler, method(r), strconv.Itoa(a.code)}
			m.duration.WithLabelValues(labels...).Observe(time.Since(began).Seconds())
			m.size.WithLabelValues(labels...).Observe(float64(a.size))
		}()
		next.ServeHTTP(a, r)
	})
}

// method keeps what clients make up out of the labels.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}

// answer counts what is written.
type answer struct {
	http.ResponseWriter
	code, size int
}

func (a *answer) WriteHeader(code int) {
	a.code = code
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) Write(p []byte) (int, error) {
	n, err := a.ResponseWriter.Write(p)
	a.size += n
	return n, err
}

// Unwrap lets http.ResponseController find the connection.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
