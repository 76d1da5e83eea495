// Package values composes the values of a release from ConfigMaps, Secrets and inline values, and computes their
// digest. It takes plain data and asks nobody.
package values

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"helm.sh/helm/v4/pkg/strvals"
	"sigs.k8s.io/yaml"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
)

// DefaultKey is the key of a reference that names none.
const DefaultKey = "values.yaml"

// Reference names values in an object.
type Reference struct {
	// Kind is ConfigMap or Secret.
	Kind, Namespace, Name string
	// Key in the object, DefaultKey when empty.
	Key string
	// TargetPath is where a single value goes; empty merges a whole document.
	TargetPath string
	// Literal takes the value at TargetPath as it is.
	Literal bool
	// Optional passes over an object or key that does not exist.
	Optional bool
}

// Object is the data of a ConfigMap or Secret.
type Object map[string][]byte

// ErrNotFound is what a Reader returns, wrapped or not, for an object that does not exist.
var ErrNotFound = errors.New("resource not found")

// KeyNotFound is the reason of an Error about an object that lacks the key.
const KeyNotFound = "key not found"

// Reader returns the data of an object.
type Reader func(kind, namespace, name string) (Object, error)

// Error says which reference could not be resolved, and why.
type Error struct {
	Reference
	Reason string
	Err    error
}

// Error has the text of the tables.
func (e *Error) Error() string {
	optional := ""
	if e.Optional {
		optional = " optional"
	}
	reason := e.Reason
	if e.Err != nil {
		reason = strings.TrimPrefix(reason+": "+e.Err.Error(), ": ")
	}
	return fmt.Sprintf("could not resolve%s %s chart values reference '%s/%s' with key '%s': %s",
		optional, e.Kind, e.Namespace, e.Name, e.key(), reason)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func (r Reference) key() string {
	if r.Key == "" {
		return DefaultKey
	}
	return r.Key
}

// Of composes the values of a HelmRelease; Compose says how.
func Of(hr *helmv2.HelmRelease, read func(kind, namespace, name string) (Object, error)) (merged map[string]any, skipped []Reference, err error) {
	inline := map[string]any{}
	if v := hr.Spec.Values; v != nil && len(v.Raw) > 0 {
		if err := json.Unmarshal(v.Raw, &inline); err != nil {
			return nil, nil, fmt.Errorf("spec.values: %w", err)
		}
	}
	return Compose(References(hr), inline, read)
}

// References are those of spec.valuesFrom.
func References(hr *helmv2.HelmRelease) []Reference {
	refs := make([]Reference, len(hr.Spec.ValuesFrom))
	for i, v := range hr.Spec.ValuesFrom {
		refs[i] = Reference{
			Kind: v.Kind, Namespace: hr.Namespace, Name: v.Name, Key: v.ValuesKey, TargetPath: v.TargetPath, Literal: v.Literal, Optional: v.Optional,
		}
	}
	return refs
}

// Compose merges documents in their order, inline values over them, and single values at their paths over all.
// Each object is read once. Skipped are the optional references for which there was nothing.
func Compose(refs []Reference, inline map[string]any, read Reader) (merged map[string]any, skipped []Reference, err error) {
	type name struct{ kind, namespace, name string }
	objects := map[name]Object{}
	merged = map[string]any{}
	var single []func() error
	for _, ref := range refs {
		id := name{ref.Kind, ref.Namespace, ref.Name}
		if ref.Kind != "ConfigMap" && ref.Kind != "Secret" {
			return nil, nil, &Error{Reference: ref, Reason: "unsupported values reference kind"}
		}
		object, known := objects[id]
		if !known {
			if object, err = read(ref.Kind, ref.Namespace, ref.Name); err != nil {
				if errors.Is(err, ErrNotFound) && ref.Optional {
					skipped = append(skipped, ref)
					continue
				}
				return nil, nil, &Error{Reference: ref, Err: err}
			}
			objects[id] = object
		}
		data, ok := object[ref.key()]
		switch {
		case !ok && ref.Optional:
			skipped = append(skipped, ref)
		case !ok:
			return nil, nil, &Error{Reference: ref, Reason: KeyNotFound}
		case ref.TargetPath != "":
			single = append(single, func() error { return set(merged, ref, string(data)) })
		default:
			document := map[string]any{}
			if err := yaml.Unmarshal(data, &document); err != nil {
				return nil, nil, &Error{Reference: ref, Reason: "failed to read values data", Err: withoutContent(err, ref.Kind)}
			}
			merged = merge(merged, document)
		}
	}
	merged = merge(merged, inline)
	for _, f := range single {
		if err := f(); err != nil {
			return nil, nil, err
		}
	}
	return merged, skipped, nil
}

// withoutContent drops an error's text where it may quote a Secret.
func withoutContent(err error, kind string) error {
	if kind == "Secret" {
		return errors.New("it is no YAML document with keys and values")
	}
	return err
}

// merge puts b over a, which it changes: maps are merged, everything else is replaced.
func merge(a, b map[string]any) map[string]any {
	for k, v := range b {
		over, isMap := v.(map[string]any)
		under, wasMap := a[k].(map[string]any)
		switch {
		case isMap && wasMap:
			a[k] = merge(under, over)
		case isMap:
			a[k] = merge(map[string]any{}, over) // never the caller's own map
		default:
			a[k] = copied(v)
		}
	}
	return a
}

func copied(v any) any {
	list, ok := v.([]any)
	if !ok {
		return v
	}
	out := make([]any, len(list))
	for i, item := range list {
		if m, ok := item.(map[string]any); ok {
			out[i] = merge(map[string]any{}, m)
			continue
		}
		out[i] = copied(item)
	}
	return out
}

// set puts one value at a path, by the rules of helm --set, --set-string for a quoted value, and verbatim for a literal.
func set(into map[string]any, ref Reference, value string) error {
	var err error
	switch {
	case ref.Literal:
		err = strvals.ParseIntoString(ref.TargetPath+"="+escape(value), into)
	case quoted(value, '\'') || quoted(value, '"'):
		err = strvals.ParseIntoString(ref.TargetPath+"="+value[1:len(value)-1], into)
	default:
		err = strvals.ParseInto(ref.TargetPath+"="+value, into)
	}
	if err != nil {
		return &Error{Reference: ref, Reason: "failed to merge value", Err: mergeError(err, ref)}
	}
	return nil
}

// mergeError never quotes the value of a Secret.
func mergeError(err error, ref Reference) error {
	if ref.Kind == "Secret" {
		return fmt.Errorf("the value cannot be set at path %q", ref.TargetPath)
	}
	return err
}

func quoted(s string, q byte) bool { return len(s) >= 2 && s[0] == q && s[len(s)-1] == q }

// escape makes every character of a value stand for itself in the grammar of --set.
func escape(value string) string {
	var b strings.Builder
	for _, r := range value {
		switch r {
		case '\\', ',', '{', '}', '=', '[', ']', '.':
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
