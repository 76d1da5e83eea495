package build

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

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

var expression = regexp.MustCompile(`\$\{[A-Za-z0-9_]+`)

// culprits names the variables whose values make an object no YAML any more: those of the last line with any, up to the line
// that the parser's error names. before is the text without their values.
func culprits(before []byte, parseErr error) string {
	lines := strings.Split(string(before), "\n")
	if where, ok := lineOf(parseErr); ok {
		if n, err := strconv.Atoi(strings.TrimPrefix(where, "line ")); err == nil && n < len(lines) {
			lines = lines[:n]
		}
	}
	for _, line := range slices.Backward(lines) {
		if found := expression.FindAllString(line, -1); len(found) > 0 {
			return fmt.Sprintf(", with the value of %s}; put quotes around it, or correct the value", strings.Join(slices.Compact(found), "}, "))
		}
	}
	return ""
}
