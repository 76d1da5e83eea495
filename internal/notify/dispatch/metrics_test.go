package dispatch

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

func written(t *testing.T, m prometheus.Metric) *dto.Metric {
	t.Helper()
	out := &dto.Metric{}
	if err := m.Write(out); err != nil {
		t.Fatal(err)
	}
	return out
}

// Every event is counted by what became of it, its time is measured, and a queue that was emptied has no depth.
func TestMetrics(t *testing.T) {
	t.Parallel()
	const kind = "of-the-metrics-test"
	w := &world{answer: func(_ context.Context, i Item, n int) error {
		switch {
		case i.Event.Message == "refused":
			return errors.New("404")
		case i.Event.Message == "failed", i.Event.Message == "late" && n == 1:
			return passing{}
		}
		return nil
	}}
	o := w.options("")
	o.MinWait, o.MaxWait, o.Attempts = time.Millisecond, time.Millisecond, 2
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range []string{"good", "late", "refused", "failed"} {
		i := item(message, message, message)
		i.Type = kind
		d.Enqueue(i)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		depth := written(t, queued.WithLabelValues(kind)).GetGauge().GetValue()
		if depth == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the depth is %v", depth)
		}
	}
	if err := d.Stop(time.Minute); err != nil {
		t.Fatal(err)
	}
	for result, want := range map[string]float64{resultDelivered: 2, resultRefused: 1, resultFailed: 1, resultExpired: 0, resultDropped: 0} {
		if got := written(t, deliveries.WithLabelValues(kind, result)).GetCounter().GetValue(); got != want {
			t.Errorf("%s: %v, want %v", result, got, want)
		}
	}
	histogram := func(o prometheus.Observer) uint64 {
		return written(t, o.(prometheus.Metric)).GetHistogram().GetSampleCount()
	}
	if n := histogram(attempts.WithLabelValues(kind)); n != 6 {
		t.Errorf("%d attempts were measured, want 6", n)
	}
	if n := histogram(latency.WithLabelValues(kind)); n != 2 {
		t.Errorf("%d latencies were measured, want 2", n)
	}
}
