package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// A legacy file describes the older versions of a kind, each as
//
//	version v1beta1 "deprecation warning"
//	column NAME TYPE PRIORITY JSONPATH
//	spec object
//	  interval! string
//	  timeout string default="60s" pattern="^…$"
//	  ref =
//
// Two spaces indent a field below its parent, of which it may be an element or value ([]object,
// map<object>). "!" says required, "=" says that the rest is as in the current version. What
// follows the type are constraints, name=JSON, or item:name=JSON for the elements of a list.
// Descriptions are those of the current version. "#" starts a line of comment.

// legacyLine is one field line, taken apart.
type legacyLine struct {
	depth    int
	name     string
	required bool
	same     bool
	typ      string
	rest     string
}

// parseLegacy returns the versions of a legacy file.
func parseLegacy(text string, current *extv1.JSONSchemaProps) ([]extv1.CustomResourceDefinitionVersion, error) {
	var versions []extv1.CustomResourceDefinitionVersion
	var fields []legacyLine
	finish := func() error {
		if len(versions) == 0 {
			return nil
		}
		v := &versions[len(versions)-1]
		root, err := parseFields(fields, current)
		if err != nil {
			return fmt.Errorf("version %s: %w", v.Name, err)
		}
		v.Schema = &extv1.CustomResourceValidation{OpenAPIV3Schema: root}
		if _, ok := root.Properties["status"]; ok {
			v.Subresources = &extv1.CustomResourceSubresources{Status: &extv1.CustomResourceSubresourceStatus{}}
		}
		fields = nil
		return nil
	}
	for n, line := range strings.Split(text, "\n") {
		var err error
		switch trimmed := strings.TrimSpace(line); {
		case trimmed == "" || trimmed[0] == '#':
		case strings.HasPrefix(line, "version "):
			if err = finish(); err == nil {
				versions = append(versions, parseVersion(trimmed))
			}
		case len(versions) == 0:
			err = errors.New("comes before the first version")
		case strings.HasPrefix(line, "column "):
			err = parseColumn(&versions[len(versions)-1], trimmed)
		default:
			var l legacyLine
			if l, err = parseLine(line); err == nil {
				fields = append(fields, l)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %q: %w", n+1, line, err)
		}
	}
	return versions, finish()
}

func parseVersion(line string) extv1.CustomResourceDefinitionVersion {
	name, warning, _ := strings.Cut(strings.TrimPrefix(line, "version "), " ")
	v := extv1.CustomResourceDefinitionVersion{Name: name, Served: true}
	if warning != "" {
		text := strings.Trim(warning, `"`)
		v.Deprecated, v.DeprecationWarning = true, &text
	}
	return v
}

func parseColumn(v *extv1.CustomResourceDefinitionVersion, line string) error {
	parts := strings.SplitN(line, " ", 5)
	if len(parts) != 5 {
		return errors.New("want: column NAME TYPE PRIORITY JSONPATH")
	}
	priority, err := strconv.ParseInt(parts[3], 10, 32)
	if err != nil {
		return err
	}
	v.AdditionalPrinterColumns = append(v.AdditionalPrinterColumns, extv1.CustomResourceColumnDefinition{
		Name: strings.ReplaceAll(parts[1], "_", " "), Type: parts[2], Priority: int32(priority), JSONPath: parts[4],
	})
	return nil
}

func parseLine(line string) (legacyLine, error) {
	body := strings.TrimLeft(line, " ")
	indent := len(line) - len(body)
	if indent%2 != 0 {
		return legacyLine{}, errors.New("is indented by an odd number of spaces")
	}
	name, rest, _ := strings.Cut(body, " ")
	typ, rest, _ := strings.Cut(rest, " ")
	l := legacyLine{depth: indent / 2, typ: typ, rest: rest, same: typ == "="}
	l.name, l.required = strings.CutSuffix(name, "!")
	return l, nil
}

// parseFields builds the schema of a version, with the head that every object has.
func parseFields(lines []legacyLine, current *extv1.JSONSchemaProps) (*extv1.JSONSchemaProps, error) {
	root := &extv1.JSONSchemaProps{Type: "object", Description: current.Description, Properties: map[string]extv1.JSONSchemaProps{}}
	for _, head := range []string{"apiVersion", "kind", "metadata"} {
		root.Properties[head] = current.Properties[head]
	}
	return root, addFields(root, lines, 0, current)
}

// addFields adds the fields at a depth, each with the deeper lines that follow it.
func addFields(parent *extv1.JSONSchemaProps, lines []legacyLine, depth int, current *extv1.JSONSchemaProps) error {
	for i := 0; i < len(lines); {
		l := lines[i]
		if l.depth != depth {
			return fmt.Errorf("field %s is indented too far", l.name)
		}
		end := i + 1
		for end < len(lines) && lines[end].depth > depth {
			end++
		}
		schema, err := fieldSchema(l, lines[i+1:end], lookup(current, l.name))
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		if parent.Properties == nil {
			parent.Properties = map[string]extv1.JSONSchemaProps{}
		}
		parent.Properties[l.name] = *schema
		if l.required {
			parent.Required = append(parent.Required, l.name)
			slices.Sort(parent.Required)
		}
		i = end
	}
	return nil
}

// lookup returns a property of an object, of the elements of a list or of the values of a map.
func lookup(s *extv1.JSONSchemaProps, name string) *extv1.JSONSchemaProps {
	if s == nil {
		return nil
	}
	if p, ok := innermost(s).Properties[name]; ok {
		return &p
	}
	return nil
}

func innermost(s *extv1.JSONSchemaProps) *extv1.JSONSchemaProps {
	for {
		switch {
		case s.Type == "array":
			s = s.Items.Schema
		case isMap(*s):
			s = s.AdditionalProperties.Schema
		default:
			return s
		}
	}
}

func fieldSchema(l legacyLine, children []legacyLine, current *extv1.JSONSchemaProps) (*extv1.JSONSchemaProps, error) {
	if l.same {
		if current == nil {
			return nil, errors.New("the current version has no such field to be the same as")
		}
		return current.DeepCopy(), nil
	}
	s, err := typeSchema(l.typ)
	if err != nil {
		return nil, err
	}
	if current != nil {
		s.Description = current.Description
	}
	if err := parseConstraints(s, l.rest); err != nil {
		return nil, err
	}
	return s, addFields(innermost(s), children, l.depth+1, current)
}

// typeSchema is the inverse of typeName.
func typeSchema(typ string) (*extv1.JSONSchemaProps, error) {
	if of, ok := strings.CutPrefix(typ, "[]"); ok {
		item, err := typeSchema(of)
		return &extv1.JSONSchemaProps{Type: "array", Items: &extv1.JSONSchemaPropsOrArray{Schema: item}}, err
	}
	if of, ok := strings.CutPrefix(typ, "map<"); ok {
		value, err := typeSchema(strings.TrimSuffix(of, ">"))
		return &extv1.JSONSchemaProps{Type: "object", AdditionalProperties: &extv1.JSONSchemaPropsOrBool{Allows: true, Schema: value}}, err
	}
	switch typ {
	case "any":
		return &extv1.JSONSchemaProps{}, nil
	case "object", "string", "boolean", "integer":
		return &extv1.JSONSchemaProps{Type: typ}, nil
	}
	return nil, fmt.Errorf("unknown type %q", typ)
}

// parseConstraints sets name=JSON pairs separated by spaces.
func parseConstraints(s *extv1.JSONSchemaProps, text string) error {
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		name, rest, ok := strings.Cut(text, "=")
		if !ok {
			return fmt.Errorf("constraint %q has no value", text)
		}
		d := json.NewDecoder(strings.NewReader(rest))
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return fmt.Errorf("constraint %s: %w", name, err)
		}
		target := s
		if of, ok := strings.CutPrefix(name, "item:"); ok {
			name, target = of, s.Items.Schema
		}
		if err := setConstraint(target, name, value); err != nil {
			return fmt.Errorf("constraint %s: %w", name, err)
		}
		text = rest[d.InputOffset():]
	}
	return nil
}

func setConstraint(s *extv1.JSONSchemaProps, name string, value json.RawMessage) error {
	key := name
	if of, ok := strings.CutPrefix(name, "kubernetes-"); ok {
		key = "x-kubernetes-" + of
	}
	if name == "CEL" {
		key = "x-kubernetes-validations"
	}
	doc, err := json.Marshal(map[string]json.RawMessage{key: value})
	if err != nil {
		return err
	}
	d := json.NewDecoder(strings.NewReader(string(doc)))
	d.DisallowUnknownFields()
	return d.Decode(s)
}
