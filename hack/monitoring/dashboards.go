package main

// panel is one picture: a query for each line of it.
type panel struct {
	title, kind, unit string
	width             int // of 24
	queries           []query
}

type query struct{ expr, legend string }

func q(expr, legend string) query { return query{expr, legend} }

const here = `namespace="$namespace"`

func controlPlane() any {
	return dashboard("flux-control-plane", "Flux Control Plane", "prometheus", []any{variable("namespace", "label_values(process_start_time_seconds, namespace)", "flux-system")}, []panel{
		{"Controllers", "stat", "none", 4, []query{q(`count(process_start_time_seconds{`+here+`, container="manager"})`, "")}},
		{"Youngest since", "stat", "s", 4, []query{q(`min(time() - process_start_time_seconds{`+here+`, container="manager"})`, "")}},
		{"Reconciliations a minute", "stat", "none", 4, []query{q(`60 * sum(rate(controller_runtime_reconcile_total{`+here+`}[$__rate_interval]))`, "")}},
		{"Errors a minute", "stat", "none", 4, []query{q(`60 * sum(rate(controller_runtime_reconcile_errors_total{`+here+`}[$__rate_interval]))`, "")}},
		{"Waiting in queues", "stat", "none", 4, []query{q(`sum(workqueue_depth{`+here+`})`, "")}},
		{"Longest at work", "stat", "s", 4, []query{q(`max(workqueue_longest_running_processor_seconds{`+here+`})`, "")}},
		{"CPU", "timeseries", "none", 12, []query{q(`sum by (pod) (rate(process_cpu_seconds_total{`+here+`, container="manager"}[$__rate_interval]))`, "{{pod}}")}},
		{"Memory", "timeseries", "bytes", 12, []query{q(`sum by (pod) (process_resident_memory_bytes{`+here+`, container="manager"})`, "{{pod}}")}},
		{"Heap", "timeseries", "bytes", 12, []query{q(`sum by (pod) (go_memstats_heap_inuse_bytes{`+here+`, container="manager"})`, "{{pod}}")}},
		{"Goroutines", "timeseries", "none", 12, []query{q(`sum by (pod) (go_goroutines{`+here+`, container="manager"})`, "{{pod}}")}},
		{"Requests to the API server", "timeseries", "reqps", 12, []query{q(`sum by (pod, code) (rate(rest_client_requests_total{`+here+`}[$__rate_interval]))`, "{{pod}} {{code}}")}},
		{"Reconciliations by result", "timeseries", "ops", 12, []query{q(`sum by (controller, result) (rate(controller_runtime_reconcile_total{`+here+`}[$__rate_interval]))`, "{{controller}} {{result}}")}},
		{"Duration of reconciliations, 95th percentile", "timeseries", "s", 12, []query{q(`histogram_quantile(0.95, sum by (kind, le) (rate(gotk_reconcile_duration_seconds_bucket{`+here+`}[$__rate_interval])))`, "{{kind}}")}},
		{"Wait in the queue, 95th percentile", "timeseries", "s", 12, []query{q(`histogram_quantile(0.95, sum by (name, le) (rate(workqueue_queue_duration_seconds_bucket{`+here+`}[$__rate_interval])))`, "{{name}}")}},
		{"Workers at work", "timeseries", "none", 12, []query{
			q(`sum by (controller) (controller_runtime_active_workers{`+here+`})`, "{{controller}}"),
			q(`sum by (controller) (controller_runtime_max_concurrent_reconciles{`+here+`})`, "{{controller}} at most"),
		}},
		{"Events received", "timeseries", "reqps", 12, []query{q(`sum by (code) (rate(gotk_event_http_request_duration_seconds_count{`+here+`}[$__rate_interval]))`, "{{code}}")}},
	})
}

func cluster() any {
	const alive = `suspended!="true"`
	return dashboard("flux-cluster", "Flux Cluster Stats", "prometheus", []any{variable("namespace", "label_values(process_start_time_seconds, namespace)", "flux-system")}, []panel{
		{"Appliers", "stat", "none", 4, []query{q(`count(gotk_resource_info{customresource_kind=~"Kustomization|HelmRelease"})`, "")}},
		{"Failing appliers", "stat", "none", 4, []query{q(`count(gotk_resource_info{customresource_kind=~"Kustomization|HelmRelease", ready="False", `+alive+`}) or vector(0)`, "")}},
		{"Sources", "stat", "none", 4, []query{q(`count(gotk_resource_info{customresource_kind=~"GitRepository|OCIRepository|HelmRepository|HelmChart|Bucket|ExternalArtifact"})`, "")}},
		{"Failing sources", "stat", "none", 4, []query{q(`count(gotk_resource_info{customresource_kind=~"GitRepository|OCIRepository|HelmRepository|HelmChart|Bucket|ExternalArtifact", ready="False", `+alive+`}) or vector(0)`, "")}},
		{"Suspended", "stat", "none", 4, []query{q(`count(gotk_resource_info{suspended="true"}) or vector(0)`, "")}},
		{"Mean duration", "stat", "s", 4, []query{q(`sum(rate(gotk_reconcile_duration_seconds_sum{`+here+`}[$__rate_interval])) / sum(rate(gotk_reconcile_duration_seconds_count{`+here+`}[$__rate_interval]))`, "")}},
		{"Objects by kind and state", "timeseries", "none", 24, []query{q(`count by (customresource_kind, ready) (gotk_resource_info)`, "{{customresource_kind}} {{ready}}")}},
		{"What is failing", "table", "none", 24, []query{q(`gotk_resource_info{ready="False", `+alive+`}`, "")}},
		{"What is suspended", "table", "none", 24, []query{q(`gotk_resource_info{suspended="true"}`, "")}},
		{"What is applied", "table", "none", 24, []query{q(`gotk_resource_info{customresource_kind=~"Kustomization|HelmRelease"}`, "")}},
		{"Where from", "table", "none", 24, []query{q(`gotk_resource_info{customresource_kind=~"GitRepository|OCIRepository|HelmRepository|HelmChart|Bucket|ExternalArtifact"}`, "")}},
		{"Slowest", "timeseries", "s", 12, []query{q(`topk(10, sum by (kind, exported_namespace, name) (rate(gotk_reconcile_duration_seconds_sum{`+here+`}[$__rate_interval])) / sum by (kind, exported_namespace, name) (rate(gotk_reconcile_duration_seconds_count{`+here+`}[$__rate_interval])))`, "{{kind}}/{{exported_namespace}}/{{name}}")}},
		{"Last looked at, before", "timeseries", "s", 12, []query{q(`topk(10, time() - gotk_last_reconcile_timestamp_seconds{`+here+`})`, "{{kind}}/{{exported_namespace}}/{{name}}")}},
	})
}

func logs() any {
	const stream = `{namespace="$namespace", container="manager"}`
	return dashboard("flux-logs", "Flux Logs", "loki", []any{
		constant("namespace", "flux-system"), constant("level", ".*"), constant("kind", ".*"), constant("name", ".*"),
	}, []panel{
		{"Lines by level", "timeseries", "none", 24, []query{q(`sum by (level) (count_over_time(`+stream+` | json | __error__="" | level=~"$level" [$__interval]))`, "{{level}}")}},
		{"Errors by object", "timeseries", "none", 24, []query{q(`topk(10, sum by (controllerKind, namespace_extracted, name) (count_over_time(`+stream+` | json | level="error" [$__interval])))`, "{{controllerKind}}/{{namespace_extracted}}/{{name}}")}},
		{"Log", "logs", "none", 24, []query{q(stream+` | json | __error__="" | level=~"$level" | controllerKind=~"$kind" | name=~"$name" | line_format "{{.ts}} {{.level}} {{.controllerKind}}/{{.name}}.{{.namespace_extracted}} - {{.msg}} {{.error}}"`, "")}},
	})
}

// dashboard lays panels out in rows of 24 columns.
func dashboard(uid, title, source string, variables []any, panels []panel) any {
	datasource := map[string]any{"type": source, "uid": "${datasource}"}
	const height = 7
	var placed []any
	x, y := 0, 0
	for i, p := range panels {
		if x+p.width > 24 {
			x, y = 0, y+height
		}
		var targets []any
		for j, one := range p.queries {
			target := map[string]any{"refId": string(rune('A' + j)), "datasource": datasource, "expr": one.expr, "legendFormat": one.legend}
			if p.kind == "table" {
				target["format"], target["instant"] = "table", true
			}
			targets = append(targets, target)
		}
		placed = append(placed, map[string]any{
			"id": i + 1, "type": p.kind, "title": p.title, "datasource": datasource, "targets": targets,
			"gridPos":     map[string]any{"x": x, "y": y, "w": p.width, "h": height},
			"fieldConfig": map[string]any{"defaults": map[string]any{"unit": p.unit}, "overrides": []any{}},
			"options":     map[string]any{},
		})
		x += p.width
	}
	list := append([]any{map[string]any{"name": "datasource", "type": "datasource", "query": source, "label": "Data source"}}, variables...)
	return map[string]any{
		"uid": uid, "title": title, "tags": []string{"flux"}, "schemaVersion": 39, "version": 1, "editable": true, "refresh": "30s",
		"time": map[string]any{"from": "now-1h", "to": "now"}, "timezone": "browser",
		"templating": map[string]any{"list": list}, "panels": placed,
	}
}

// variable is one whose values Prometheus knows.
func variable(name, ask, value string) any {
	return map[string]any{
		"name": name, "type": "query", "datasource": map[string]any{"type": "prometheus", "uid": "${datasource}"}, "refresh": 2,
		"query": map[string]any{"query": ask, "refId": name}, "definition": ask, "current": map[string]any{"text": value, "value": value},
	}
}

// constant is one that a person types.
func constant(name, value string) any {
	return map[string]any{"name": name, "type": "textbox", "query": value, "current": map[string]any{"text": value, "value": value}}
}
