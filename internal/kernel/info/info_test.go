package info

import (
	"maps"
	"testing"
)

func TestValues(t *testing.T) {
	t.Parallel()
	k, ok := Of("helm.toolkit.fluxcd.io", "HelmRelease")
	if !ok {
		t.Fatal("no HelmRelease")
	}
	object := map[string]any{
		"metadata": map[string]any{"name": "web", "namespace": "apps"},
		"spec":     map[string]any{"suspend": true, "chart": map[string]any{"spec": map[string]any{"sourceRef": map[string]any{"name": "charts"}}}},
		"status": map[string]any{
			"conditions": []any{map[string]any{"type": "Released", "status": "True"}, map[string]any{"type": "Ready", "status": "False"}},
			"history":    []any{map[string]any{"chartName": "podinfo", "chartVersion": "6.5.0"}, map[string]any{"chartVersion": "6.4.0"}},
		},
	}
	want := map[string]string{
		"customresource_group": "helm.toolkit.fluxcd.io", "customresource_version": "v2", "customresource_kind": "HelmRelease",
		"name": "web", "exported_namespace": "apps", "suspended": "true", "ready": "False",
		"revision": "6.5.0", "chart_name": "podinfo", "chart_source_name": "charts",
	}
	if got := k.Values(object); !maps.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	bare := map[string]any{"metadata": map[string]any{"name": "web"}, "status": map[string]any{"conditions": "odd", "history": []any{}}}
	if got := k.Values(bare); len(got) != 4 {
		t.Errorf("an object without status: %v", got)
	}
}
