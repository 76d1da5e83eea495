package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// field is one line of the flat view of a schema.
type field struct {
	// Path with [] for the elements of a list and {} for the values of a map.
	Path string
	// Type such as string, []object, map<string>, any.
	Type string
	// Required within its parent.
	Required bool
	// Constraints such as default="60s"; those of list elements start with "item:".
	Constraints []string
	// Description in prose.
	Description string
}

// String is the line as the fact tables write it.
func (f field) String() string {
	presence := "opt"
	if f.Required {
		presence = "req"
	}
	return strings.Join(append([]string{f.Path, f.Type, presence}, f.Constraints...), " | ")
}

// flatten lists the fields of a version's spec and status, sorted by path.
func flatten(schema *extv1.JSONSchemaProps) []field {
	var out []field
	for _, name := range []string{"spec", "status"} {
		if p, ok := schema.Properties[name]; ok {
			flattenInto(&out, name, p, slices.Contains(schema.Required, name))
		}
	}
	return out
}

func flattenInto(out *[]field, path string, s extv1.JSONSchemaProps, required bool) {
	*out = append(*out, field{
		Path: path, Type: typeName(s), Required: required,
		Constraints: constraints(s), Description: s.Description,
	})
	for s.Type == "array" || isMap(s) {
		if s.Type == "array" {
			path, s = path+"[]", *s.Items.Schema
			continue
		}
		path, s = path+"{}", *s.AdditionalProperties.Schema
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		flattenInto(out, path+"."+name, s.Properties[name], slices.Contains(s.Required, name))
	}
}

func isMap(s extv1.JSONSchemaProps) bool {
	return s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil
}

func typeName(s extv1.JSONSchemaProps) string {
	switch {
	case s.Type == "array":
		return "[]" + typeName(*s.Items.Schema)
	case isMap(s):
		return "map<" + typeName(*s.AdditionalProperties.Schema) + ">"
	case s.Type == "":
		return "any"
	}
	return s.Type
}

// constraints lists what a schema demands beyond its type.
func constraints(s extv1.JSONSchemaProps) []string {
	var c []string
	add := func(name string, v any) { c = append(c, name+"="+compact(v)) }
	if s.Default != nil {
		add("default", json.RawMessage(s.Default.Raw))
	}
	if len(s.Enum) > 0 {
		values := make([]json.RawMessage, len(s.Enum))
		for i, e := range s.Enum {
			values[i] = e.Raw
		}
		add("enum", values)
	}
	addText := func(name, v string) {
		if v != "" {
			add(name, v)
		}
	}
	addText("pattern", s.Pattern)
	addText("format", s.Format)
	for _, n := range []struct {
		name string
		v    *int64
	}{{"minLength", s.MinLength}, {"maxLength", s.MaxLength}, {"minItems", s.MinItems}, {"maxItems", s.MaxItems}} {
		if n.v != nil {
			add(n.name, *n.v)
		}
	}
	if s.Minimum != nil {
		add("minimum", *s.Minimum)
	}
	if s.Maximum != nil {
		add("maximum", *s.Maximum)
	}
	c = append(c, extensions(s)...)
	if s.Type == "array" {
		for _, item := range constraints(*s.Items.Schema) {
			c = append(c, "item:"+item)
		}
	}
	return c
}

// extensions lists the x-kubernetes keys.
func extensions(s extv1.JSONSchemaProps) []string {
	var c []string
	if s.XPreserveUnknownFields != nil {
		c = append(c, "kubernetes-preserve-unknown-fields="+compact(*s.XPreserveUnknownFields))
	}
	if len(s.XListMapKeys) > 0 {
		c = append(c, "kubernetes-list-map-keys="+compact(s.XListMapKeys))
	}
	if s.XListType != nil {
		c = append(c, "kubernetes-list-type="+compact(*s.XListType))
	}
	if s.XMapType != nil {
		c = append(c, "kubernetes-map-type="+compact(*s.XMapType))
	}
	for _, v := range s.XValidations {
		c = append(c, fmt.Sprintf("CEL[rule=%s message=%s]", compact(v.Rule), compact(v.Message)))
	}
	return c
}

// compact is JSON without spaces and without escapes for HTML.
func compact(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "?" // only for values that no schema holds, and then no comparison succeeds
	}
	return strings.TrimSpace(b.String())
}
