package kustomize

import (
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// A field that the refusal of its object names already is not named again.
func TestIgnoredFieldsAreNamedOnce(t *testing.T) {
	t.Parallel()
	ref := apply.Ref{GroupVersionKind: schema.GroupVersionKind{Version: "v1", Kind: "Service"}, Namespace: "apps", Name: "web"}
	ignored := []apply.UnknownField{{Ref: ref, Path: "spec.typo"}, {Ref: ref, Path: "spec.typos"}}
	one, two := "unknown field spec.typo was ignored: correct or remove it", "unknown field spec.typos was ignored: correct or remove it"
	for known, want := range map[string]string{"": one + "\n  " + two, one: one + "\n  " + two, one + "\n  " + two: one + "\n  " + two} {
		failures := []apply.Failure{{Ref: ref, Hint: known}}
		hintAtFields(failures, ignored)
		if failures[0].Hint != want {
			t.Errorf("%q became %q", known, failures[0].Hint)
		}
	}
}
