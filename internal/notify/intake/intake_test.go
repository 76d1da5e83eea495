package intake

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gitops-toolkit/flux/internal/notify/event"
	"github.com/gitops-toolkit/flux/internal/notify/inbound"
)

const byHand = `{"involvedObject":{"kind":"Bucket","namespace":"flux-system","name":"bucket","uid":"x","apiVersion":"source.toolkit.fluxcd.io/v1","resourceVersion":"1"},
"severity":"info","timestamp":"2026-01-02T03:04:05Z","message":"posted by hand","reason":"Manual",
"metadata":{"source.toolkit.fluxcd.io/revision":"r1","source.toolkit.fluxcd.io/checksum":"c","other.io/x":"y","event.toolkit.fluxcd.io/tag":"t"},
"reportingController":"source-controller","reportingInstance":"i"}`

// The answers are those of the recorded run, header by header.
func TestAnswers(t *testing.T) {
	t.Parallel()
	limiter := NewLimiter(5 * time.Minute)
	now := time.Date(2026, 11, 21, 5, 40, 59, 0, time.UTC)
	limiter.now = func() time.Time { return now }
	var routed []*event.Event
	metrics := inbound.NewMetrics("gotk_event", false)
	server := httptest.NewServer(metrics.Wrap("/", NewHandler(func(_ context.Context, e *event.Event) error { routed = append(routed, e); return nil }, limiter, logr.Discard())))
	defer server.Close()
	limited := map[string]string{"X-Ratelimit-Limit": "1", "X-Ratelimit-Remaining": "0", "X-Ratelimit-Reset": "Sat, 21 Nov 2026 05:45:59 GMT"}
	again := map[string]string{"Retry-After": "Sat, 21 Nov 2026 05:45:59 GMT", "Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff"}
	for k, v := range limited {
		again[k] = v
	}
	tests := []struct {
		reason, method, path, body string
		code                       int
		headers                    map[string]string
		answer                     string
	}{
		{reason: "an event is taken", method: "POST", path: "/", body: byHand, code: 202, headers: limited},
		{reason: "the same again is not", method: "POST", path: "/", body: byHand, code: 429, headers: again, answer: "Too Many Requests\n"},
		{reason: "any path will do", method: "POST", path: "/foo", body: "{}", code: 202, headers: limited},
		{reason: "empty events have a key too", method: "POST", path: "/", body: "{}", code: 429, headers: again, answer: "Too Many Requests\n"},
		{reason: "broken JSON", method: "POST", path: "/", body: "{", code: 400},
		{reason: "no body", method: "GET", path: "/", code: 400},
		{reason: "wrong types", method: "POST", path: "/", body: `{"metadata":{"a":1}}`, code: 400},
		{reason: "too large, announced", method: "POST", path: "/", body: strings.Repeat(" ", inbound.MaxBody+1), code: 413},
	}
	for _, tt := range tests {
		req, _ := http.NewRequestWithContext(t.Context(), tt.method, server.URL+tt.path, strings.NewReader(tt.body))
		check(t, tt.reason, req, tt.code, tt.headers, tt.answer)
	}
	chunked, _ := http.NewRequestWithContext(t.Context(), "POST", server.URL, struct{ *strings.Reader }{strings.NewReader(strings.Repeat(" ", inbound.MaxBody+1))})
	chunked.ContentLength = -1
	check(t, "too large, not announced", chunked, 413, nil, "")
	if len(routed) != 2 || len(routed[0].Metadata) != 2 {
		t.Errorf("routed %v", routed)
	}
	registry := prometheus.NewRegistry()
	if err := metrics.Register(registry); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil || len(families) != 3 {
		t.Fatalf("%d families, %v", len(families), err)
	}
	if f := families[0]; f.GetName() != "gotk_event_http_request_duration_seconds" || len(f.GetMetric()) != 5 {
		t.Errorf("%s has %d series, want one for each method and code", f.GetName(), len(f.GetMetric()))
	}
}

func check(t *testing.T, reason string, req *http.Request, code int, headers map[string]string, answer string) {
	t.Helper()
	rec, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Errorf("%s: %v", reason, err)
		return
	}
	defer rec.Body.Close()
	body := make([]byte, 1024)
	n, _ := rec.Body.Read(body)
	if rec.StatusCode != code || string(body[:n]) != answer {
		t.Errorf("%s: %d %q, want %d %q", reason, rec.StatusCode, body[:n], code, answer)
	}
	got := map[string]string{}
	for k := range rec.Header {
		if k != "Date" && k != "Content-Length" {
			got[k] = rec.Header.Get(k)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(nonNil(headers)) {
		t.Errorf("%s: headers %v, want %v", reason, got, headers)
	}
}

func nonNil(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	l := NewLimiter(time.Minute)
	l.now = func() time.Time { return now }
	step := func(d time.Duration, want bool, reason string) {
		t.Helper()
		now = now.Add(d)
		if ok, _ := l.Take("k"); ok != want {
			t.Errorf("%s: %v", reason, ok)
		}
	}
	step(0, true, "the first passes")
	step(59*time.Second, false, "one within the interval does not")
	step(time.Second, true, "one after it does")
	step(90*time.Second, true, "windows keep their beginning")
	step(29*time.Second, false, "still the same window")
	step(time.Second, true, "the next window")
	for i := range maxKeys + 1000 {
		l.Take(fmt.Sprint(i))
	}
	if len(l.seen) > maxKeys {
		t.Errorf("%d keys are kept", len(l.seen))
	}
	now = now.Add(time.Hour)
	l.Take("k")
	if len(l.seen) != 1 {
		t.Errorf("%d keys are left an hour later", len(l.seen))
	}
	if ok, _ := NewLimiter(0).Take("k"); !ok {
		t.Error("an interval of zero limits")
	}
}
