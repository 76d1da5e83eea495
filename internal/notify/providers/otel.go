package providers

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"slices"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/gitops-toolkit/flux/internal/notify/event"
)

func init() { register(Type{Name: "otel", New: newOTel}) }

// otel sends one span for each event, over OTLP with HTTP. All events of an Alert about one revision
// make a trace, which begins at the source.
type otel struct {
	*Config
	url string
}

func newOTel(c *Config) (Sender, error) {
	u, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	return &otel{Config: c, url: u.String()}, nil
}

// roots are the kinds whose events begin a trace.
var roots = []string{"GitRepository", "HelmChart", "OCIRepository", "Bucket", "ExternalArtifact"}

func (o *otel) Send(ctx context.Context, n *Notification) error {
	if n.Event.InvolvedObject.Kind == "HelmRepository" {
		return nil // it stands for many charts, so for no revision
	}
	body, err := proto.Marshal(spans(n, time.Now()))
	if err != nil {
		return refused("the event cannot be encoded: %v", err)
	}
	h := header("Content-Type", "application/x-protobuf")
	if len(o.Headers) > 0 {
		for k, v := range o.Headers {
			h.Set(k, v)
		}
		switch {
		case o.Username != "":
			h.Set("Authorization", basicAuth(o.Username, cmp.Or(o.Password, o.Token)))
		case o.Token != "":
			h.Set("Authorization", "Bearer "+o.Token)
		}
	}
	_, err = o.do(ctx, request{method: http.MethodPost, url: o.url, header: h, body: body})
	return err
}

func spans(n *Notification, now time.Time) *collectorpb.ExportTraceServiceRequest {
	e := n.Event
	about := e.InvolvedObject
	trace := sha256.Sum256([]byte(string(n.Alert.UID) + ":" + revisionOf(e)))
	root := sha256.Sum256(trace[:16])
	span := &tracepb.Span{
		TraceId: trace[:16], Name: about.Kind + ": " + about.Namespace + "/" + about.Name,
		Kind:              tracepb.Span_SPAN_KIND_INTERNAL,
		StartTimeUnixNano: uint64(e.Timestamp.UnixNano()), EndTimeUnixNano: uint64(max(now.UnixNano(), e.Timestamp.UnixNano())),
		Attributes: attributes(
			"object.uid", string(about.UID), "object.kind", about.Kind, "object.name", about.Name, "object.namespace", about.Namespace),
		Status: &tracepb.Status{Code: tracepb.Status_STATUS_CODE_OK, Message: e.Message},
	}
	if slices.Contains(roots, about.Kind) {
		span.SpanId = root[:8]
	} else {
		span.SpanId, span.ParentSpanId = make([]byte, 8), root[:8]
		_, _ = rand.Read(span.SpanId) // never fails
	}
	if e.IsError() {
		span.Status.Code = tracepb.Status_STATUS_CODE_ERROR
	}
	for _, f := range e.Fields() {
		span.Attributes = append(span.Attributes, attributes(f.Key, f.Value)...)
	}
	return &collectorpb.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: &resourcepb.Resource{Attributes: attributes(
			"service.name", n.Alert.Namespace+"/"+n.Alert.Name, "service.namespace", n.Alert.Namespace, "service.instance.id", string(n.Alert.UID))},
		ScopeSpans: []*tracepb.ScopeSpans{{
			Scope: &commonpb.InstrumentationScope{Name: e.ReportingController}, Spans: []*tracepb.Span{span},
		}},
	}}}
}

// revisionOf is what makes a trace of an Alert.
func revisionOf(e *event.Event) string {
	version, digest := e.Metadata[event.KeyAppVersion], e.Metadata[event.KeyOCIDigest]
	if version != "" && digest != "" {
		return version + "@" + digest
	}
	return cmp.Or(e.Metadata[event.KeyRevision], "unknown")
}

func attributes(pairs ...string) []*commonpb.KeyValue {
	var out []*commonpb.KeyValue
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, &commonpb.KeyValue{Key: pairs[i], Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: pairs[i+1]}}})
	}
	return out
}
