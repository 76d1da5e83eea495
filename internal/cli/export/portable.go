package export

import (
	"encoding/json"
	"strings"

	"github.com/gitops-toolkit/flux/api/meta"
)

// oursPrefix begins the annotations that only our controllers know.
const oursPrefix = "gitops-toolkit.dev/"

// ours are the fields of spec that only we have, by kind, as api/differences.txt lists them; a test
// compares the two.
var ours = map[string][]string{
	"Kustomization": {"dependsOn[].apiVersion", "dependsOn[].kind"},
	"HelmRelease":   {"dependsOn[].apiVersion", "dependsOn[].kind"},
	"Alert":         {"digest", "transitions"},
	"Receiver":      {"matchRepository"},
}

// withoutOurs drops from a spec what upstream does not know. A dependency on an object of another
// kind goes as a whole: without its kind it would name another object.
func withoutOurs(kind string, raw json.RawMessage) (json.RawMessage, error) {
	var spec map[string]any
	if len(raw) == 0 || ours[kind] == nil {
		return raw, nil
	}
	if err := json.Unmarshal(raw, &spec); err != nil {
		return nil, err
	}
	for _, field := range ours[kind] {
		list, _, of := strings.Cut(field, "[].")
		if !of {
			delete(spec, field)
			continue
		}
		dropForeign(spec, list, kind)
	}
	return json.Marshal(spec)
}

// dropForeign leaves the entries of a list of dependencies that are of the object's own kind.
func dropForeign(spec map[string]any, list, kind string) {
	entries, _ := spec[list].([]any)
	var kept []any
	for _, e := range entries {
		entry, ok := e.(map[string]any)
		if !ok || entry["kind"] != nil && entry["kind"] != kind {
			continue
		}
		delete(entry, "kind")
		delete(entry, "apiVersion")
		kept = append(kept, entry)
	}
	if delete(spec, list); len(kept) > 0 {
		spec[list] = kept
	}
}

// forget takes our annotations off.
func forget(obj meta.Object) {
	annotations := obj.GetAnnotations()
	for key := range annotations {
		if strings.HasPrefix(key, oursPrefix) {
			delete(annotations, key)
		}
	}
	obj.SetAnnotations(annotations)
}
