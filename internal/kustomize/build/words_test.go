package build

import (
	"errors"
	"testing"
)

func TestReadable(t *testing.T) {
	t.Parallel()
	tests := []struct{ reason, in, want string }{
		{"no kind", "failed to decode Kubernetes YAML from /artifact/a.yaml: missing kind in object {{v1 } {{cm } map[] map[]}}",
			"failed to decode Kubernetes YAML from /artifact/a.yaml: missing kind in object with apiVersion 'v1', metadata.name 'cm'; add it, or leave the file out of the build"},
		{"no name", "missing metadata.name in object {{v1 ConfigMap} {{ ns} map[] map[a:b c]}}",
			"missing metadata.name in object with apiVersion 'v1', kind 'ConfigMap', metadata.namespace 'ns'; add it, or leave the file out of the build"},
		{"nothing at all", "missing kind in object {{ } {{ } map[] map[]}}", "missing kind in object; add it, or leave the file out of the build"},
		{"not ours", "invalid Kustomization: json: unknown field \"spec\"",
			"invalid Kustomization: json: unknown field \"spec\"; only files of kustomize may have this name: rename the file if it holds a Kustomization of Flux"},
		{"bookkeeping", `produces ID conflict: [{"metadata":{"annotations":{"internal.config.kubernetes.io/previousNames":"x"},"name":"x"}}]`,
			`produces ID conflict: [{"metadata":{"name":"x"}}]; rename one of the two, or let them keep their namespaces`},
		{"anything else", "yaml: line 3: did not find expected key", "yaml: line 3: did not find expected key"},
	}
	for _, tt := range tests {
		err := errors.New(tt.in)
		got := readable(err)
		if got.Error() != tt.want || !errors.Is(got, err) {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
}
