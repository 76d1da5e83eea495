package apply

import (
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// TestSecretRefusal plants values in Secrets that the server refuses and looks for them in the error.
func TestSecretRefusal(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := b.apply(`apiVersion: v1
kind: Secret
metadata: {name: list, namespace: $NS}
data: {k: [canary-1]}
---
apiVersion: v1
kind: Secret
metadata: {name: text, namespace: $NS}
data: {k: "canary-2 is not base64"}
---
apiVersion: v1
kind: Secret
metadata: {name: number, namespace: $NS}
stringData: {k: 12}
---
apiVersion: v1
kind: Secret
metadata: {name: type, namespace: $NS}
type: kubernetes.io/dockerconfigjson
stringData: {.dockerconfigjson: canary-3}`, nil)
	if err == nil {
		t.Fatal("no error")
	}
	for _, line := range []string{"Secret/" + b.ns + "/list", "Secret/" + b.ns + "/text", "Secret/" + b.ns + "/number", "Secret/" + b.ns + "/type"} {
		if !strings.Contains(err.Error(), line) {
			t.Errorf("%s is not named", line)
		}
	}
	if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "Value:12") {
		t.Errorf("a value is in the error:\n%s", err)
	}
}

// TestSensitiveRefusal is about objects that are no Secrets and hold something decrypted.
func TestSensitiveRefusal(t *testing.T) {
	t.Parallel()
	object := &unstructured.Unstructured{Object: map[string]any{"kind": "ConfigMap", "spec": map[string]any{"a": "word", "b": "word-and-more"}}}
	refusal := errors.New(`invalid "word-and-more" of kind ConfigMap, or "word"`)
	for sensitive, want := range map[bool]string{false: refusal.Error(), true: `invalid "***" of kind ConfigMap, or "***"`} {
		v := &verdict{item: &item{obj: object, sensitive: sensitive, ref: Ref{GroupVersionKind: schema.GroupVersionKind{Kind: "ConfigMap"}}}, err: refusal}
		if got := redacted(v).Error(); got != want {
			t.Errorf("sensitive %v: %s, want %s", sensitive, got, want)
		}
	}
}
