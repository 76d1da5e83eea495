package providers

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/gitops-toolkit/flux/internal/notify/event"
)

const apis = "testdata/apis.json"

// biggest is what a service takes in one request, in bytes, where it says so.
var biggest = map[string]int{
	"msteams": 28 << 10, "googlechat": 32_000, "lark": 20 << 10, "matrix": 65_536, "githubdispatch": 64 << 10,
	"pagerduty": 512 << 10,
}

// telegramText is the longest text of a message after its marks are taken out.
const telegramText = 4096

// What services publish about their APIs holds for every request, whatever the event: small or large, good or
// bad news, with metadata or without.
func TestPublishedAPIs(t *testing.T) {
	t.Parallel()
	for name, c := range contracts() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for reason, change := range events() {
				n := &network{c: c}
				_, sender, err := c.open(t, name, n)
				if err != nil {
					t.Fatal(err)
				}
				letter := sample()
				change(letter.Event)
				if err := sender.Send(t.Context(), letter); err != nil {
					t.Fatalf("%s: %v", reason, err)
				}
				for _, sent := range n.requests {
					checkRequest(t, name, reason, sent)
				}
			}
		})
	}
}

// events are changes to the sample that stretch what a service has to take.
func events() map[string]func(*event.Event) {
	return map[string]func(*event.Event){
		"a failure": func(*event.Event) {},
		"good news": func(e *event.Event) { e.Severity, e.Reason = event.SeverityInfo, "ReconciliationSucceeded" },
		"a source": func(e *event.Event) {
			e.Severity, e.Reason, e.InvolvedObject.Kind = event.SeverityInfo, "NewArtifact", "GitRepository"
		},
		"no more than a revision": func(e *event.Event) {
			e.Metadata = map[string]string{"revision": "main@sha1:" + hash, "change_request": "12"}
			e.ReportingInstance = ""
		},
		"a long story": func(e *event.Event) {
			e.Message = strings.Repeat("ConfigMap/apps/größer-als-alles created. *[x](y)*\n", 4000)
			e.Metadata["summary"] = strings.Repeat("s", 255)
		},
		"long names": func(e *event.Event) {
			e.InvolvedObject.Name, e.InvolvedObject.Namespace = strings.Repeat("n", 150), strings.Repeat("s", 63)
			e.Reason = strings.Repeat("Reason", 20)
		},
	}
}

func checkRequest(t *testing.T, name, reason string, r sentRequest) {
	t.Helper()
	if r.method == http.MethodGet || strings.HasPrefix(r.url, "https://oauth2.googleapis.com/") {
		return
	}
	u, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	schema := schemaOf(t, name, u.Path)
	if strings.Contains(u.Path, "access_tokens") {
		return // it has no body
	}
	if limit := biggest[name]; limit > 0 && len(r.body) > limit {
		t.Errorf("%s: %d bytes, the service takes %d", reason, len(r.body), limit)
	}
	instance := asJSON(t, name, r)
	if m, ok := instance.(map[string]any); ok && name == "telegram" {
		if text := strings.ReplaceAll(m["text"].(string), `\`, ""); len([]rune(text)) > telegramText {
			t.Errorf("%s: a text of %d characters, the service takes %d", reason, len([]rune(text)), telegramText)
		}
	}
	if err := schema.Validate(instance); err != nil {
		t.Errorf("%s: %s %s: %v", reason, r.method, r.url, err)
	}
}

// schemaOf finds the schema of a type, or of one of its paths.
func schemaOf(t *testing.T, name, path string) *jsonschema.Schema {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	pointer := func(key string) string {
		return apis + "#/apis/" + url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(key))
	}
	schema, err := compiler.Compile(pointer(name + " " + path))
	if err != nil {
		schema, err = compiler.Compile(pointer(name))
	}
	if err != nil {
		t.Fatalf("no schema for %s: %v", name, err)
	}
	return schema
}

// asJSON is the body of a request in JSON, whatever it is written in.
func asJSON(t *testing.T, name string, r sentRequest) any {
	t.Helper()
	body, media := []byte(r.body), r.header.Get("Content-Type")
	switch name {
	case "zulip":
		form, err := url.ParseQuery(r.body)
		if err != nil || media != "application/x-www-form-urlencoded" {
			t.Fatalf("%s: %v", media, err)
		}
		out := map[string]any{}
		for k, v := range form {
			out[k] = v[0]
		}
		return out
	case "sentry":
		lines := bytes.Split(bytes.TrimSpace(body), []byte("\n"))
		if len(lines) != 3 || media != "application/x-sentry-envelope" {
			t.Fatalf("%s: an envelope of %d lines", media, len(lines))
		}
		body = lines[2]
	case "otel":
		spans := &collectorpb.ExportTraceServiceRequest{}
		if err := proto.Unmarshal(body, spans); err != nil || media != "application/x-protobuf" {
			t.Fatalf("%s: %v", media, err)
		}
		var err error
		if body, err = protojson.Marshal(spans); err != nil {
			t.Fatal(err)
		}
	default:
		if media != "application/json" {
			t.Errorf("the content type is %q", media)
		}
	}
	out, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("the body is no JSON: %v", err)
	}
	return out
}

// Workflows of Microsoft Teams take other cards than its connectors did.
func TestPublishedAdaptiveCards(t *testing.T) {
	t.Parallel()
	c := contracts()["msteams"]
	c.address = "https://prod.westeurope.logic.azure.com/workflows/" + canary
	schema := schemaOf(t, "msteams workflow", "")
	for reason, change := range events() {
		n := &network{c: c}
		_, sender, err := c.open(t, "msteams", n)
		if err != nil {
			t.Fatal(err)
		}
		letter := sample()
		change(letter.Event)
		if err := sender.Send(t.Context(), letter); err != nil {
			t.Fatal(err)
		}
		body := n.requests[0].body
		var card any
		if err := json.Unmarshal([]byte(body), &card); err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(card); err != nil || len(body) > biggest["msteams"] {
			t.Errorf("%s: %d bytes, %v", reason, len(body), err)
		}
	}
}
