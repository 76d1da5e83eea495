package tracing

import (
	"context"
	"net"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
)

type sink struct {
	collector.UnimplementedTraceServiceServer
	got chan *collector.ExportTraceServiceRequest
}

func (s *sink) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	s.got <- r
	return &collector.ExportTraceServiceResponse{}, nil
}

func TestOffUnlessConfigured(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
	stop, err := Start(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	_, span := otel.Tracer("test").Start(t.Context(), "s")
	if span.SpanContext().IsValid() {
		t.Error("spans are recorded although nobody asked for them")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_SDK_DISABLED", "true")
	if wanted() {
		t.Error("OTEL_SDK_DISABLED is not heeded")
	}
}

func TestSpansReachTheCollector(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{got: make(chan *collector.ExportTraceServiceRequest, 4)}
	server := grpc.NewServer()
	collector.RegisterTraceServiceServer(server, s)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+l.Addr().String())

	before := otel.GetTracerProvider()
	t.Cleanup(func() { otel.SetTracerProvider(before) })
	stop, err := Start(t.Context(), "kustomize-controller")
	if err != nil {
		t.Fatal(err)
	}
	_, span := otel.Tracer("test").Start(t.Context(), "reconcile Kustomization")
	span.End()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-s.got:
		spans := r.ResourceSpans[0]
		if got := spans.ScopeSpans[0].Spans[0].Name; got != "reconcile Kustomization" {
			t.Errorf("span %q", got)
		}
		if got := spans.Resource.Attributes[0].Value.GetStringValue(); got != "kustomize-controller" {
			t.Errorf("service %q", got)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nothing reached the collector")
	}
}
