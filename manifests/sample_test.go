package manifests_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// sampler makes values that a schema accepts, every field filled.
type sampler struct {
	// set gives the value at a path instead of one that is made; nil leaves the field out. It
	// counts only where the version's schema allows it.
	set map[string]any
	// poison fills durations and times with what Go does not understand.
	poison bool
}

// The values for strings that must match a pattern, by the pattern's beginning.
var patternSamples = []struct{ prefix, value string }{
	{`^([0-9]+`, "90s"},
	{`^(http|https|ssh)`, "https://example.com/path"},
	{`^(http|https|oci)`, "https://example.com/path"},
	{`^(http|https)`, "https://example.com/path"},
	{`^https?`, "https://example.com"},
	{`^oci:`, "oci://example.com/path"},
	{`^[a-z0-9]+(?:[.+_-]`, "sha256:0123abcd"},
	{`^@(artifact)/`, "@artifact/dir"},
	{`^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)/`, "@one/dir"},
	{`^@`, "@one"},
	{`^[A-Za-z]([A-Za-z0-9_,:]*`, "Reason"},
	{`^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.`, "Ready"},
	{`^[a-z0-9]`, "one"},
	{`^[\-._a-zA-Z0-9]`, "key.yaml"},
	{`^([a-zA-Z0-9_\-.\\\/]`, "a.b[0]"},
}

// value makes a value for the field at a path, false to leave it out.
func (s sampler) value(path string, schema extv1.JSONSchemaProps) (any, bool) {
	if v, ok := s.set[path]; ok && (v == nil || inEnum(v, schema)) {
		return v, v != nil
	}
	switch {
	case len(schema.Enum) > 0:
		return fromJSON(schema.Enum[0].Raw), true
	case schema.Type == "array":
		v, _ := s.value(path+"[]", *schema.Items.Schema)
		return []any{v}, true
	case schema.AdditionalProperties != nil && schema.AdditionalProperties.Schema != nil:
		v, _ := s.value(path+"{}", *schema.AdditionalProperties.Schema)
		return map[string]any{"key": v}, true
	case schema.Type == "object":
		return s.object(path, schema), true
	case schema.Type == "boolean":
		return true, true
	case schema.Type == "integer":
		return int64(1), true
	case schema.Type == "":
		return map[string]any{"any": []any{int64(1), "two", true}}, true
	}
	return s.text(path, schema), true
}

func (s sampler) object(path string, schema extv1.JSONSchemaProps) map[string]any {
	out := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		v, ok := s.value(path+"."+name, schema.Properties[name])
		if !ok && slices.Contains(schema.Required, name) {
			v, ok = sampler{poison: s.poison}.value(path+"."+name, schema.Properties[name])
		}
		if ok {
			out[name] = v
		}
	}
	return out
}

// inEnum is true if the schema lets the value through; an older version may know fewer.
func inEnum(v any, schema extv1.JSONSchemaProps) bool {
	return len(schema.Enum) == 0 || slices.ContainsFunc(schema.Enum, func(e extv1.JSON) bool { return fromJSON(e.Raw) == v })
}

func (s sampler) text(path string, schema extv1.JSONSchemaProps) string {
	duration := strings.HasPrefix(schema.Pattern, `^([0-9]+`)
	if s.poison && (duration || schema.Format == "date-time") {
		return "2026-01-02t03:04:05z"
	}
	if schema.Format == "date-time" {
		return "2026-01-02T03:04:05Z"
	}
	if schema.Pattern == "" {
		return "text-" + strings.ToLower(path[strings.LastIndex(path, ".")+1:])
	}
	for _, p := range patternSamples {
		if strings.HasPrefix(schema.Pattern, p.prefix) {
			return p.value
		}
	}
	return "no sample for " + schema.Pattern // the API server will say which field
}

func fromJSON(raw []byte) any {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil
	}
	return v
}

// prune keeps of a value what a schema knows, as the API server does.
func prune(v any, schema extv1.JSONSchemaProps) any {
	if schema.XPreserveUnknownFields != nil && *schema.XPreserveUnknownFields {
		return v
	}
	switch t := v.(type) {
	case []any:
		out := make([]any, len(t))
		for i := range t {
			out[i] = prune(t[i], *schema.Items.Schema)
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for k, x := range t {
			if p, ok := schema.Properties[k]; ok {
				out[k] = prune(x, p)
			} else if schema.AdditionalProperties != nil {
				out[k] = prune(x, *schema.AdditionalProperties.Schema)
			}
		}
		return out
	}
	return v
}

// missing lists what of want is not in got; more in got is no matter.
func missing(path string, want, got any) []string {
	switch w := want.(type) {
	case map[string]any:
		g, _ := got.(map[string]any)
		var out []string
		for k, x := range w {
			out = append(out, missing(path+"."+k, x, g[k])...)
		}
		return out
	case []any:
		g, _ := got.([]any)
		if len(g) != len(w) {
			return []string{fmt.Sprintf("%s: %v, want %v", path, got, want)}
		}
		var out []string
		for i := range w {
			out = append(out, missing(fmt.Sprintf("%s[%d]", path, i), w[i], g[i])...)
		}
		return out
	}
	if fmt.Sprint(want) != fmt.Sprint(got) {
		return []string{fmt.Sprintf("%s: %v, want %v", path, got, want)}
	}
	return nil
}

// variants are the ways to fill a kind, so that its rules hold and each field is filled once.
func variants(kind string) []map[string]any {
	none := any(nil)
	switch kind {
	case "GitRepository":
		return []map[string]any{{"spec.provider": "azure"}}
	case "Bucket":
		return []map[string]any{
			{"spec.provider": "generic", "spec.sts.provider": "ldap", "spec.serviceAccountName": none},
			{"spec.provider": "aws", "spec.sts.secretRef": none, "spec.sts.certSecretRef": none, "spec.secretRef": none},
		}
	case "Kustomization":
		return []map[string]any{{"spec.kubeConfig.configMapRef": none}, {"spec.kubeConfig.secretRef": none}}
	case "HelmRelease":
		retry := map[string]any{"spec.install.strategy.name": "RetryOnFailure", "spec.upgrade.strategy.name": "RetryOnFailure"}
		a, b := maps.Clone(retry), maps.Clone(retry)
		a["spec.chartRef"], a["spec.kubeConfig.configMapRef"] = none, none
		b["spec.chart"], b["spec.kubeConfig.secretRef"] = none, none
		// v2beta1 requires chart, so there both are set, which v2 refuses unless the spec is
		// unchanged; the API server does not see that it is when values are set.
		b["spec.values"] = none
		return []map[string]any{a, b}
	case "Provider":
		return []map[string]any{{"spec.type": "github"}}
	case "Receiver":
		return []map[string]any{
			{"spec.type": "github", "spec.oidcProviders": none},
			{"spec.type": "generic-oidc", "spec.secretRef": none},
		}
	case "ImagePolicy":
		return []map[string]any{{"spec.digestReflectionPolicy": "Always"}}
	case "ArtifactGenerator":
		return []map[string]any{{"spec.artifacts[].name": "one"}}
	}
	return []map[string]any{{}}
}
