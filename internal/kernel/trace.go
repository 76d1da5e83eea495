package kernel

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

const tracerName = "github.com/gitops-toolkit/flux/internal/kernel"

// trace opens a span for a pass or job. Without a configured exporter it costs next to nothing.
func (e *engine) trace(ctx context.Context, what string, p *pass) (context.Context, func()) {
	ctx, span := otel.Tracer(tracerName).Start(ctx, what+" "+e.gvk.Kind, trace.WithAttributes(
		attribute.String("flux.controller", e.m.name),
		attribute.String("k8s.namespace.name", p.name.Namespace),
		attribute.String("flux.object.kind", e.gvk.Kind),
		attribute.String("flux.object.name", p.name.Name),
		attribute.Int64("flux.object.generation", p.object.GetGeneration()),
	))
	return ctx, func() { span.End() }
}
