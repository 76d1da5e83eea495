package diff

import (
	"encoding/base64"
	"reflect"
	"regexp"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/cli/build"
)

// masked hides the values on both sides of a comparison; what remains is which there are, and whether they differ.
func masked(from, to any) (any, any) {
	a, mapA := from.(map[string]any)
	b, mapB := to.(map[string]any)
	listA, isListA := from.([]any)
	listB, isListB := to.([]any)
	switch {
	case from == nil || to == nil:
		return covered(from), covered(to)
	case mapA && mapB:
		for key := range a {
			if _, both := b[key]; both {
				a[key], b[key] = masked(a[key], b[key])
				continue
			}
			a[key] = covered(a[key])
		}
		for key := range b {
			if _, both := a[key]; !both {
				b[key] = covered(b[key])
			}
		}
		return a, b
	case isListA && isListB && len(listA) == len(listB):
		for i := range listA {
			listA[i], listB[i] = masked(listA[i], listB[i])
		}
		return listA, listB
	case reflect.DeepEqual(from, to):
		return "***", "***"
	}
	return "*** (before)", "*** (after)"
}

// hideField hides one field of both sides, as far as they have it.
func hideField(from, to map[string]any, field string) {
	a, b := masked(from[field], to[field])
	if a != nil {
		from[field] = a
	}
	if b != nil {
		to[field] = b
	}
}

// covered hides a value.
func covered(value any) any {
	switch v := value.(type) {
	case nil:
		return nil
	case map[string]any:
		for key, item := range v {
			v[key] = covered(item)
		}
		return v
	case []any:
		for i, item := range v {
			v[i] = covered(item)
		}
		return v
	}
	return "***"
}

var encodedMask = base64.StdEncoding.EncodeToString([]byte(build.Mask))

// encodeMasks makes the masks of a Secret values that the server takes.
func encodeMasks(u *unstructured.Unstructured) {
	data, _ := u.Object["data"].(map[string]any)
	if !isSecret(u) {
		return
	}
	for key, value := range data {
		if value == build.Mask {
			data[key] = encodedMask
		}
	}
}

// disguise puts the live values in the place of masks, so that what is encrypted in the files is compared by its keys only,
// and tells in which fields there are masks. A new object gets values that the server takes, as far as they are known.
func disguise(desired, live *unstructured.Unstructured) (*unstructured.Unstructured, []string) {
	var hides []string
	out := desired.DeepCopy()
	for field, value := range out.Object {
		if !holdsMask(value) {
			continue
		}
		hides = append(hides, field)
		var from any
		if live != nil {
			from = live.Object[field]
		}
		out.Object[field] = unmasked(value, from, "")
	}
	return out, hides
}

func holdsMask(value any) bool {
	switch v := value.(type) {
	case string:
		return v == build.Mask || v == encodedMask
	case map[string]any:
		for _, item := range v {
			if holdsMask(item) {
				return true
			}
		}
	case []any:
		for _, item := range v {
			if holdsMask(item) {
				return true
			}
		}
	}
	return false
}

// pullSecrets are values of Secrets whose form the server looks at.
var pullSecrets = map[string]string{".dockerconfigjson": `{"auths":{}}`, ".dockercfg": "{}"}

func unmasked(value, live any, key string) any {
	switch v := value.(type) {
	case string:
		switch {
		case !holdsMask(v):
		case live != nil:
			return live
		case pullSecrets[key] != "" && v == encodedMask:
			return base64.StdEncoding.EncodeToString([]byte(pullSecrets[key]))
		}
	case map[string]any:
		from, _ := live.(map[string]any)
		for key, item := range v {
			v[key] = unmasked(item, from[key], key)
		}
	case []any:
		from, _ := live.([]any)
		for i, item := range v {
			var there any
			if i < len(from) {
				there = from[i]
			}
			v[i] = unmasked(item, there, "")
		}
	}
	return value
}

// hashed is a name that a generator made: its end is a digest of the content.
var hashed = regexp.MustCompile(`^(.+-)[2456789bcdfghkmt]{10}$`)

// settle gives Secrets that are generated from encrypted files the names that they have in the cluster: the digest is that
// of the plain content, which is not known here. A name stays where it is not clear which one is meant.
func settle(objects []*unstructured.Unstructured, owner *kustomizev1.Kustomization) {
	if owner.Status.Inventory == nil {
		return
	}
	applied, wanted := map[string][]string{}, map[apply.ID]bool{}
	for _, u := range objects {
		wanted[apply.RefOf(u).ID()] = true
	}
	for _, entry := range owner.Status.Inventory.Entries {
		ref, ok := apply.Entry{ID: apply.ID(entry.ID), Version: entry.Version}.Ref()
		m := hashed.FindStringSubmatch(ref.Name)
		if ok && m != nil && ref.Group == "" && ref.Kind == "Secret" && !wanted[apply.ID(entry.ID)] {
			applied[ref.Namespace+"/"+m[1]] = append(applied[ref.Namespace+"/"+m[1]], ref.Name)
		}
	}
	names := map[string]string{}
	for _, u := range objects {
		m := hashed.FindStringSubmatch(u.GetName())
		if m == nil || !isSecret(u) || !holdsMask(u.Object["data"]) {
			continue
		}
		if found := applied[u.GetNamespace()+"/"+m[1]]; len(found) == 1 {
			names[u.GetName()] = found[0]
		}
	}
	if len(names) == 0 {
		return
	}
	for _, u := range objects {
		u.Object, _ = renamed(u.Object, names).(map[string]any)
	}
}

// renamed replaces names wherever they are a whole value.
func renamed(value any, names map[string]string) any {
	switch v := value.(type) {
	case string:
		if to, ok := names[v]; ok {
			return to
		}
	case map[string]any:
		for key, item := range v {
			v[key] = renamed(item, names)
		}
	case []any:
		for i, item := range v {
			v[i] = renamed(item, names)
		}
	}
	return value
}
