package fleet

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/internal/cli/kinds"
)

// policy changes objects of a kind whenever anybody writes them, dry-runs included: the controllers
// see what they applied, and nobody has to touch a file.
type policy struct {
	name string
	kind *kinds.Kind
	// when is a CEL condition, patch a CEL list of JSON patches.
	when, patch string
}

// suspended are the kinds that reach out of the sandbox: to chats, to repositories, to other clusters.
func suspended() []policy {
	const patch = `[JSONPatch{op: "add", path: "/spec/suspend", value: true}]`
	return []policy{
		{"alerts", kinds.Alert, "true", patch},
		{"image-updates", kinds.ImageUpdateAutomation, "true", patch},
		{"remote-kustomizations", kinds.Kustomization, "has(object.spec.kubeConfig)", patch},
		{"remote-releases", kinds.HelmRelease, "has(object.spec.kubeConfig)", patch},
	}
}

// objects are the policy and its binding.
func (p policy) objects() []*unstructured.Unstructured {
	const group = "admissionregistration.k8s.io/v1"
	name := "flux-sandbox-test-" + p.name
	body := map[string]any{
		"apiVersion": group, "kind": "MutatingAdmissionPolicy", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"failurePolicy": "Fail", "reinvocationPolicy": "Never",
			"matchConstraints": map[string]any{"resourceRules": []any{map[string]any{
				"apiGroups": []any{p.kind.Group}, "apiVersions": []any{"*"}, "resources": []any{p.kind.Plural},
				"operations": []any{"CREATE", "UPDATE"},
			}}},
			"matchConditions": []any{map[string]any{"name": "meant", "expression": p.when}},
			"mutations":       []any{map[string]any{"patchType": "JSONPatch", "jsonPatch": map[string]any{"expression": p.patch}}},
		},
	}
	binding := map[string]any{
		"apiVersion": group, "kind": "MutatingAdmissionPolicyBinding", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"policyName": name},
	}
	return []*unstructured.Unstructured{{Object: body}, {Object: binding}}
}
