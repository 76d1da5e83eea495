package tokens

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/gitops-toolkit/flux/internal/subject"
)

func valueOf(t *testing.T, m prometheus.Metric) float64 {
	t.Helper()
	out := &dto.Metric{}
	if err := m.Write(out); err != nil {
		t.Fatal(err)
	}
	return out.GetCounter().GetValue() + out.GetGauge().GetValue()
}

func series(c prometheus.Collector) int {
	all := make(chan prometheus.Metric, 100)
	c.Collect(all)
	return len(all)
}

// TestMetrics counts as upstream does: looks by object and operation, requests by how they end, and what is kept.
func TestMetrics(t *testing.T) {
	now := time.Unix(1000, 0)
	c := New[string](Options{Size: 2, Now: func() time.Time { return now }})
	before := valueOf(t, items)
	ctx := subject.With(context.Background(), "Bucket", "ns", "b")
	get := func(ctx context.Context, key string, err error) {
		t.Helper()
		if _, _, got := c.Get(ctx, key, func(context.Context) (string, time.Time, error) { return key, now.Add(time.Hour), err }); !errors.Is(got, err) {
			t.Fatal(got)
		}
	}
	failed := errors.New("refused")
	get(ctx, "a", nil)
	get(ctx, "a", nil)
	get(subject.Doing(ctx, "fetch_kubeconfig"), "a", nil)
	get(ctx, "b", failed)
	get(context.Background(), "c", nil)
	for _, tc := range []struct {
		event, operation string
		want             float64
	}{{"cache_miss", "reconcile", 2}, {"cache_hit", "reconcile", 1}, {"cache_hit", "fetch_kubeconfig", 1}} {
		if got := valueOf(t, events.WithLabelValues(tc.event, "Bucket", "b", "ns", tc.operation)); got != tc.want {
			t.Errorf("%s of %s: %v, want %v", tc.event, tc.operation, got, tc.want)
		}
	}
	if ok, bad := valueOf(t, requests.WithLabelValues("success")), valueOf(t, requests.WithLabelValues("failure")); ok != 2 || bad != 1 {
		t.Errorf("%v succeeded and %v failed", ok, bad)
	}
	if n := valueOf(t, evictions); n != 1 {
		t.Errorf("%v evictions", n)
	}
	if n := valueOf(t, items) - before; n < 1 || n > 2 {
		t.Errorf("%v items", n)
	}
	subject.Gone("Bucket", "ns", "b")
	if n := series(events); n != 0 {
		t.Errorf("%d series of an object that is gone", n)
	}
}

func TestAFarEndIsKept(t *testing.T) {
	t.Parallel()
	c := New[string](Options{})
	n := 0
	for range 2 {
		_, _, err := c.Get(t.Context(), "key", func(context.Context) (string, time.Time, error) {
			n++
			return "value", time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC), nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n != 1 {
		t.Errorf("asked %d times", n)
	}
}
