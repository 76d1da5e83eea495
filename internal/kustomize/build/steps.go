package build

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/internal/kustomize/substitute"
)

// substituteMarker, set to "disabled" as a label or annotation, takes one object out of the substitution.
const substituteMarker = "kustomize.toolkit.fluxcd.io/substitute"

// SubstituteStep returns the step that expands variables in each object that does not opt out.
func SubstituteStep(variables substitute.Variables, strict bool) Step {
	return func(_ context.Context, text Text) ([]byte, error) {
		if SubstitutionDisabled(text.Object) || !substitute.Expanded(string(text.YAML)) {
			return nil, nil
		}
		expanded, err := substitute.Expand(string(text.YAML), variables.Lookup, strict)
		if err != nil {
			return nil, fmt.Errorf("envsubst error: variable substitution failed: %w", err)
		}
		return []byte(expanded), nil
	}
}

// SubstitutionDisabled reports whether an object opts out of the substitution.
func SubstitutionDisabled(object *unstructured.Unstructured) bool {
	return object.GetLabels()[substituteMarker] == "disabled" || object.GetAnnotations()[substituteMarker] == "disabled"
}
