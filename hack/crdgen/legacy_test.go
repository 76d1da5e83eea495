package main

import (
	"slices"
	"strings"
	"testing"

	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// currentSchema is a small current version to be an older one of.
func currentSchema() *extv1.JSONSchemaProps {
	text := extv1.JSONSchemaProps{Type: "string", Description: "about", Pattern: "^a$"}
	ref := extv1.JSONSchemaProps{Type: "object", Properties: map[string]extv1.JSONSchemaProps{"name": text}, Required: []string{"name"}}
	spec := extv1.JSONSchemaProps{Type: "object", Properties: map[string]extv1.JSONSchemaProps{
		"url": text, "ref": ref,
		"list": {Type: "array", Items: &extv1.JSONSchemaPropsOrArray{Schema: &ref}},
	}}
	return &extv1.JSONSchemaProps{Type: "object", Properties: map[string]extv1.JSONSchemaProps{
		"apiVersion": {Type: "string"}, "kind": {Type: "string"}, "metadata": {Type: "object"}, "spec": spec,
	}}
}

func TestParseLegacy(t *testing.T) {
	t.Parallel()
	const file = `# comment
version v1beta1 "old, upgrade"
column Last_run string 1 .status.x
spec! object
  url! string default="a b" enum=["a b","c"] maxLength=9
  ref =
  list []object
    name =
version v1beta2
spec object CEL=[{"rule":"a","message":"b"}]
  tags []string item:enum=["x"]
  labels map<string>
  any any kubernetes-preserve-unknown-fields=true
status object default={"observedGeneration":-1}
`
	versions, err := parseLegacy(file, currentSchema())
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{
		`spec | object | req`,
		`spec.list | []object | opt`,
		`spec.list[].name | string | opt | pattern="^a$"`,
		`spec.ref | object | opt`,
		`spec.ref.name | string | req | pattern="^a$"`,
		`spec.url | string | req | default="a b" | enum=["a b","c"] | maxLength=9`,
	}, {
		`spec | object | opt | CEL[rule="a" message="b"]`,
		`spec.any | any | opt | kubernetes-preserve-unknown-fields=true`,
		`spec.labels | map<string> | opt`,
		`spec.tags | []string | opt | item:enum=["x"]`,
		`status | object | opt | default={"observedGeneration":-1}`,
	}}
	for i, v := range versions {
		var got []string
		for _, f := range flatten(v.Schema.OpenAPIV3Schema) {
			got = append(got, f.String())
		}
		if !slices.Equal(got, want[i]) {
			t.Errorf("%s: got\n%s\nwant\n%s", v.Name, strings.Join(got, "\n"), strings.Join(want[i], "\n"))
		}
	}
	first := versions[0]
	if !first.Deprecated || *first.DeprecationWarning != "old, upgrade" || first.Subresources != nil || first.AdditionalPrinterColumns[0].Name != "Last run" {
		t.Errorf("the head of %s is wrong: %+v", first.Name, first)
	}
	if versions[1].Deprecated || versions[1].Subresources == nil {
		t.Errorf("the head of v1beta2 is wrong: %+v", versions[1])
	}
}

func TestParseLegacyErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ file, want string }{
		"NoVersion":     {"spec object", "comes before the first version"},
		"OddIndent":     {"version v1\nspec object\n   url string", "odd number of spaces"},
		"TooDeep":       {"version v1\nspec object\n    url string", "indented too far"},
		"NoSuchField":   {"version v1\nspec object\n  gone =", "spec: gone: the current version has no such field"},
		"BadType":       {"version v1\nspec text", `unknown type "text"`},
		"BadConstraint": {"version v1\nspec object\n  url string loud=true", "unknown field"},
		"NoValue":       {"version v1\nspec object\n  url string loud", "has no value"},
		"BadColumn":     {"version v1\ncolumn X", "want: column"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parseLegacy(tc.file, currentSchema())
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestCheckStored(t *testing.T) {
	t.Parallel()
	current := extv1.CustomResourceDefinitionVersion{Schema: &extv1.CustomResourceValidation{OpenAPIV3Schema: currentSchema()}}
	versions, err := parseLegacy("version v1beta1\nspec object\n  old string\nstatus object", currentSchema())
	if err != nil {
		t.Fatal(err)
	}
	if err := checkStored(versions[0], current); err == nil || !strings.Contains(err.Error(), "spec.old (string) would be lost") {
		t.Errorf("a field that the stored version does not know must be refused, got %v", err)
	}
}
