package why

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
)

// The logs that an event ends with are not for a line, nor is what is said already.
func TestLastWarning(t *testing.T) {
	t.Parallel()
	event := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Event", "metadata": map[string]any{"namespace": "apps", "name": "e"},
		"type": "Warning", "reason": "UpgradeFailed", "lastTimestamp": "2026-01-01T00:00:00Z",
		"message": "Helm upgrade failed: timeout\n\nLast Helm logs:\n\n2026-01-01T00:00:00Z: patched",
	}}
	kinds := map[schema.GroupVersionResource]string{eventsResource: "EventList"}
	r := reader{fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, event)}
	got := r.lastWarning(t.Context(), "HelmRelease", "apps", "web")
	if want := "last event UpgradeFailed: Helm upgrade failed: timeout"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for text, want := range map[string]bool{"rolled back\nafter: Helm upgrade failed: timeout": true, "rolled back": false, "": false} {
		if saysAlready(text, got) != want {
			t.Errorf("%q: not %t", text, want)
		}
	}
	if saysAlready("anything", "") {
		t.Error("no event says nothing already")
	}
}
