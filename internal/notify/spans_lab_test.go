package notify

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/kernel/tracing"
)

// spans is an OTLP collector.
type spans struct {
	collector.UnimplementedTraceServiceServer
	got chan *tracepb.Span
}

func (s *spans) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	for _, resource := range r.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, one := range scope.Spans {
				s.got <- one
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// Each attempt to deliver is a span, which a collector gets over OTLP: whose event went where, and whether it failed.
func TestDeliveriesAreSpans(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &spans{got: make(chan *tracepb.Span, 1000)}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, s)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+listener.Addr().String())
	before := otel.GetTracerProvider()
	t.Cleanup(func() { otel.SetTracerProvider(before) })
	flush, err := tracing.Start(t.Context(), "notification-controller")
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t)
	in := newInbox(t)
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	t.Cleanup(refusing.Close)
	l.create(&notificationv1.Provider{}, "chat", "spec: {type: slack, address: "+in.URL+"}")
	l.create(&notificationv1.Provider{}, "refuses", "spec: {type: generic, address: "+refusing.URL+"}")
	for _, name := range []string{"chat", "refuses"} {
		l.create(&notificationv1.Alert{}, name, `spec: {providerRef: {name: `+name+`}, eventSources: [{kind: GitRepository, name: "*"}]}`)
	}
	l.ready(t, in)
	l.told("refuses", "NotificationDispatchFailed", "request failed with status code 403")
	l.letGo()
	l.stop()
	if err := flush(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]tracepb.Status_StatusCode{}
	for len(seen) < 2 {
		select {
		case span := <-s.got:
			attributes := map[string]string{}
			for _, a := range span.Attributes {
				attributes[a.Key] = a.Value.GetStringValue()
			}
			if attributes["provider"] == "" {
				continue // a reconciliation
			}
			if want := "GitRepository/" + l.ns + "/probe"; attributes["object"] != want || attributes["alert"] != attributes["provider"] || span.EndTimeUnixNano < span.StartTimeUnixNano {
				t.Errorf("%s: %v", span.Name, attributes)
			}
			seen[span.Name+" "+attributes["provider"]] = span.GetStatus().GetCode()
		case <-time.After(30 * time.Second):
			t.Fatalf("the collector got %v", seen)
		}
	}
	if seen["deliver slack "+l.ns+"/chat"] != tracepb.Status_STATUS_CODE_UNSET || seen["deliver generic "+l.ns+"/refuses"] != tracepb.Status_STATUS_CODE_ERROR {
		t.Errorf("the collector got %v", seen)
	}
}
