package controllers

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/client-go/rest"
)

func TestUnthrottle(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason string
		fair   bool
		want   float32
	}{
		{"a server with priority and fairness needs no limits here", true, -1},
		{"a server without keeps ours", false, 50},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodHead || r.URL.Path != "/livez/ping" {
				t.Errorf("asked %s %s", r.Method, r.URL)
			}
			if tt.fair {
				w.Header().Set(flowSchemaHeader, "uid")
			}
		}))
		config := &rest.Config{Host: server.URL, QPS: 50, Burst: 300}
		if err := unthrottle(t.Context(), config); err != nil || config.QPS != tt.want {
			t.Errorf("%s: QPS %v, %v", tt.reason, config.QPS, err)
		}
		server.Close()
	}
	config := &rest.Config{Host: "http://127.0.0.1:1", QPS: 50}
	if err := unthrottle(t.Context(), config); err != nil || config.QPS != 50 {
		t.Errorf("a server that cannot be asked: QPS %v, %v", config.QPS, err)
	}
}
