package main

// alert is one rule.
type alert struct{ name, expr, lasts, severity, summary, description string }

// alerts look at objects through gotk_resource_info and at the controllers through their own metrics.
var alerts = []alert{
	{"FluxResourceFailing", `gotk_resource_info{ready="False", suspended!="true"} == 1`, "15m", "warning",
		"{{ $labels.customresource_kind }} {{ $labels.exported_namespace }}/{{ $labels.name }} is not ready",
		"See why: flux events --for {{ $labels.customresource_kind }}/{{ $labels.name }} --namespace={{ $labels.exported_namespace }}"},
	{"FluxResourceUnsettled", `gotk_resource_info{ready="Unknown", suspended!="true"} == 1`, "1h", "warning",
		"{{ $labels.customresource_kind }} {{ $labels.exported_namespace }}/{{ $labels.name }} has been working for an hour",
		"What it waits for stands in its condition Reconciling: flux get all --namespace={{ $labels.exported_namespace }}"},
	{"FluxResourceSuspended", `gotk_resource_info{suspended="true"} == 1`, "24h", "info",
		"{{ $labels.customresource_kind }} {{ $labels.exported_namespace }}/{{ $labels.name }} has been suspended for a day",
		"Nothing is applied or corrected meanwhile. flux resume goes on."},
	{"FluxResourceForgotten", `time() - max by (kind, exported_namespace, name) (gotk_last_reconcile_timestamp_seconds) > 86400`, "15m", "warning",
		"{{ $labels.kind }} {{ $labels.exported_namespace }}/{{ $labels.name }} was last looked at more than a day ago",
		"Is its interval that long, or is the queue of its controller stuck?"},
	{"FluxControllerDown", `max by (namespace, pod) (up{namespace="flux-system", container="manager"}) == 0`, "5m", "critical",
		"{{ $labels.pod }} does not answer", "Nothing that it is responsible for is reconciled: flux check"},
	{"FluxControllerFailing", `sum by (namespace, controller) (rate(controller_runtime_reconcile_errors_total{namespace="flux-system"}[10m])) > 0.1`, "15m", "warning",
		"Reconciliations of {{ $labels.controller }} end in errors", "flux logs --level=error; a permission may be missing: flux check"},
	{"FluxControllerStuck", `max by (namespace, name) (workqueue_longest_running_processor_seconds{namespace="flux-system"}) > 900`, "5m", "warning",
		"A worker of {{ $labels.name }} has been busy for a quarter of an hour", "A remote that hangs holds it; see flux logs."},
	{"FluxControllerPanics", `sum by (namespace, controller) (increase(controller_runtime_reconcile_panics_total{namespace="flux-system"}[1h])) > 0`, "0m", "critical",
		"{{ $labels.controller }} has panicked", "It goes on, but please report the stack in its log."},
}

func prometheusRule() any {
	var rules []any
	for _, a := range alerts {
		rules = append(rules, map[string]any{
			"alert": a.name, "expr": a.expr, "for": a.lasts, "labels": map[string]any{"severity": a.severity},
			"annotations": map[string]any{"summary": a.summary, "description": a.description},
		})
	}
	return map[string]any{
		"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
		"metadata": map[string]any{"name": "flux", "namespace": "flux-system", "labels": map[string]any{"app.kubernetes.io/part-of": "flux-monitoring"}},
		"spec":     map[string]any{"groups": []any{map[string]any{"name": "flux", "rules": rules}}},
	}
}
