package apply

import (
	"encoding/base64"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
)

// podTemplates tells where kinds keep their pod spec.
var podTemplates = map[string][]string{
	"/Pod":                   {"spec"},
	"/ReplicationController": {"spec", "template", "spec"},
	"apps/Deployment":        {"spec", "template", "spec"},
	"apps/StatefulSet":       {"spec", "template", "spec"},
	"apps/DaemonSet":         {"spec", "template", "spec"},
	"apps/ReplicaSet":        {"spec", "template", "spec"},
	"batch/Job":              {"spec", "template", "spec"},
	"batch/CronJob":          {"spec", "jobTemplate", "spec", "template", "spec"},
}

// untyped are the built-in kinds that are not converted through their Go types: these say "rules: null"
// where an aggregated role has none.
var untyped = []string{"rbac.authorization.k8s.io/Role", "rbac.authorization.k8s.io/ClusterRole"}

// normalise brings an object into the form in which the server keeps it, so that desired and live
// can be compared and nothing is owned that the server sets. It returns the paths of fields that the
// Go type of the kind does not have, which are dropped.
func normalise(u *unstructured.Unstructured) (unknown []string) {
	gvk := u.GroupVersionKind()
	isCRD := gvk.Group == "apiextensions.k8s.io" && gvk.Kind == "CustomResourceDefinition"
	if !isCRD {
		unstructured.RemoveNestedField(u.Object, "status")
	}
	dropServerMetadata(u.Object)
	if isCRD {
		dropBadConversionCA(u)
	}
	kind := gvk.Group + "/" + gvk.Kind
	DropAggregatedRules(u)
	if isCRD || slices.Contains(untyped, kind) {
		return nil
	}
	switch kind {
	case "/Secret":
		FoldStringData(u)
	case "/Service":
		defaultProtocol(u.Object, "spec", "ports")
	}
	path := podTemplates[kind]
	for _, list := range []string{"containers", "initContainers", "ephemeralContainers"} {
		defaultContainerProtocols(u.Object, path, list)
	}
	unknown = throughType(u)
	dropEmptyTimestamps(u.Object)
	unstructured.RemoveNestedField(u.Object, "status")
	return unknown
}

// dropServerMetadata removes what only the server may set and a manifest that was exported from a
// cluster still carries.
func dropServerMetadata(obj map[string]any) {
	for _, key := range []string{"creationTimestamp", "managedFields", "resourceVersion", "uid", "generation", "selfLink"} {
		unstructured.RemoveNestedField(obj, "metadata", key)
	}
	meta, _ := obj["metadata"].(map[string]any)
	for _, key := range []string{"labels", "annotations"} {
		if m, ok := meta[key].(map[string]any); meta[key] == nil || ok && len(m) == 0 {
			delete(meta, key) // an empty map would be owned
		}
	}
}

// dropEmptyTimestamps removes the null creationTimestamps that Go types write into embedded
// templates.
func dropEmptyTimestamps(v any) {
	switch v := v.(type) {
	case map[string]any:
		if meta, ok := v["metadata"].(map[string]any); ok {
			if ts, ok := meta["creationTimestamp"]; ok && ts == nil {
				delete(meta, "creationTimestamp")
			}
		}
		for _, child := range v {
			dropEmptyTimestamps(child)
		}
	case []any:
		for _, child := range v {
			dropEmptyTimestamps(child)
		}
	}
}

// DropAggregatedRules takes the rules out of a ClusterRole that aggregates those of others: the control plane fills them
// in and overwrites whatever stands there. Whoever applies them, empty as they mostly are, takes all rights away for the
// moment that it needs to fill them in again, and fights with it for ever.
func DropAggregatedRules(u *unstructured.Unstructured) {
	gvk := u.GroupVersionKind()
	if gvk.Group == "rbac.authorization.k8s.io" && gvk.Kind == "ClusterRole" && u.Object["aggregationRule"] != nil {
		delete(u.Object, "rules")
	}
}

// FoldStringData moves a Secret's stringData into data, where it wins and where the server keeps it: what is applied as
// stringData owns no field of the object that it becomes, so that nobody could tell when others change it.
func FoldStringData(u *unstructured.Unstructured) {
	plain, ok := u.Object["stringData"].(map[string]any)
	if !ok {
		return
	}
	data, ok := u.Object["data"].(map[string]any)
	if !ok && u.Object["data"] != nil {
		return
	}
	out := map[string]any{}
	maps.Copy(out, data)
	for k, v := range plain {
		s, ok := v.(string)
		if !ok {
			return // a number or boolean: the server's refusal names the field
		}
		out[k] = base64.StdEncoding.EncodeToString([]byte(s))
	}
	u.Object["data"] = out
	delete(u.Object, "stringData")
}

func defaultContainerProtocols(obj map[string]any, path []string, list string) {
	if path == nil {
		return
	}
	containers := nestedList(obj, append(append([]string(nil), path...), list)...)
	for _, c := range containers {
		if m, ok := c.(map[string]any); ok {
			defaultProtocol(m, "ports")
		}
	}
}

// defaultProtocol writes the default of a port's protocol: it is part of the key of the list, and
// without it the server could not tell two ports apart.
func defaultProtocol(obj map[string]any, path ...string) {
	for _, p := range nestedList(obj, path...) {
		if m, ok := p.(map[string]any); ok && (m["protocol"] == nil || m["protocol"] == "") {
			m["protocol"] = "TCP"
		}
	}
}

// nestedList returns a list without copying it, nil when there is none.
func nestedList(obj map[string]any, path ...string) []any {
	v, ok, err := unstructured.NestedFieldNoCopy(obj, path...)
	if !ok || err != nil {
		return nil
	}
	list, _ := v.([]any)
	return list
}

// throughType converts an object of a built-in kind to its Go type and back, and returns the paths that
// were lost. This gives upstream's shape, which adds empty structs to what we own: the "strategy" of a
// Deployment, the "spec" of a Namespace. An object that does not fit its type stays as it is: the server
// will say what is wrong, and where.
func throughType(u *unstructured.Unstructured) []string {
	typed, err := scheme.Scheme.New(u.GroupVersionKind())
	if err != nil {
		return nil
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, typed); err != nil {
		return nil
	}
	out, err := runtime.DefaultUnstructuredConverter.ToUnstructured(typed)
	if err != nil {
		return nil
	}
	out["apiVersion"], out["kind"] = u.Object["apiVersion"], u.Object["kind"]
	dropNewNulls(u.Object, out)
	unknown := lost(u.Object, out, "")
	slices.Sort(unknown)
	for i, path := range unknown {
		unknown[i] = strings.TrimPrefix(path, ".")
	}
	u.Object = out
	return unknown
}

// dropNewNulls removes from after the nulls that before does not have: Go types write them for lists and
// pointers that are not set.
func dropNewNulls(before, after any) {
	switch a := after.(type) {
	case map[string]any:
		b, _ := before.(map[string]any)
		for key, value := range a {
			was, had := b[key]
			if value == nil && !had {
				delete(a, key)
				continue
			}
			dropNewNulls(was, value)
		}
	case []any:
		b, _ := before.([]any)
		for i := range a {
			var was any
			if i < len(b) {
				was = b[i]
			}
			dropNewNulls(was, a[i])
		}
	}
}

// lost lists the paths of before whose values are missing in after; empty values do not count.
func lost(before, after any, path string) []string {
	switch b := before.(type) {
	case map[string]any:
		a, ok := after.(map[string]any)
		if !ok {
			return lostValue(b, path)
		}
		var out []string
		for k, v := range b {
			out = append(out, lost(v, a[k], path+"."+k)...)
		}
		return out
	case []any:
		a, ok := after.([]any)
		if !ok || len(a) != len(b) {
			return lostValue(b, path)
		}
		var out []string
		for i := range b {
			out = append(out, lost(b[i], a[i], fmt.Sprintf("%s[%d]", path, i))...)
		}
		return out
	}
	if after == nil {
		return lostValue(before, path)
	}
	return nil
}

func lostValue(v any, path string) []string {
	if v == nil {
		return nil
	}
	r := reflect.ValueOf(v)
	switch r.Kind() {
	case reflect.Map, reflect.Slice, reflect.String:
		if r.Len() == 0 {
			return nil
		}
	default:
		if r.IsZero() {
			return nil
		}
	}
	return []string{path}
}
