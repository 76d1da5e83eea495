package helm

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
)

// diff counts what an apply would change.
type diff struct{ added, changed, removed int }

func (d diff) empty() bool { return d == diff{} }

// difference compares what is with what would be.
func difference(is, would any) diff {
	var d diff
	d.walk(is, would)
	return d
}

func (d *diff) walk(is, would any) {
	switch w := would.(type) {
	case map[string]any:
		if i, ok := is.(map[string]any); ok {
			d.walkMaps(i, w)
			return
		}
	case []any:
		if i, ok := is.([]any); ok {
			d.walkLists(i, w)
			return
		}
	}
	if !reflect.DeepEqual(is, would) {
		d.changed++
	}
}

func (d *diff) walkMaps(is, would map[string]any) {
	for k, v := range would {
		old, ok := is[k]
		if !ok {
			d.added++
			continue
		}
		d.walk(old, v)
	}
	for k := range is {
		if _, ok := would[k]; !ok {
			d.removed++
		}
	}
}

func (d *diff) walkLists(is, would []any) {
	for n := range min(len(is), len(would)) {
		d.walk(is[n], would[n])
	}
	d.added += max(0, len(would)-len(is))
	d.removed += max(0, len(is)-len(would))
}

// content is what counts of an object: all but its status and the server's part of its metadata, and without the paths.
func content(o *unstructured.Unstructured, paths [][]string) map[string]any {
	c := o.DeepCopy().Object
	delete(c, "status")
	kept := map[string]any{}
	if m, ok := c["metadata"].(map[string]any); ok {
		for _, k := range []string{"labels", "annotations"} {
			if v, ok := m[k]; ok {
				kept[k] = v
			}
		}
	}
	c["metadata"] = kept
	for _, path := range paths {
		remove(c, path)
	}
	return c
}

// ignoreRule names fields of some objects that others may change.
type ignoreRule struct {
	*apply.Selector
	paths [][]string
	whole bool
}

func ignoreRules(in []meta.IgnoreRule) ([]ignoreRule, error) {
	var out []ignoreRule
	for i, r := range in {
		selector, err := apply.CompileSelector(r.Target)
		if err != nil {
			return nil, fmt.Errorf("spec.driftDetection.ignore[%d].target.%w", i, err)
		}
		rule := ignoreRule{Selector: selector}
		for _, p := range r.Paths {
			if p == "" {
				rule.whole = true
				continue
			}
			rule.paths = append(rule.paths, apply.PointerTokens(p))
		}
		out = append(out, rule)
	}
	return out, nil
}

// pathsFor lists the fields of an object that others may change; whole says that all may be.
func pathsFor(rules []ignoreRule, o *unstructured.Unstructured) (paths [][]string, whole bool) {
	for i := range rules {
		if !rules[i].Picks(o) {
			continue
		}
		if rules[i].whole {
			return nil, true
		}
		paths = append(paths, rules[i].paths...)
	}
	return paths, false
}

// remove takes the value at a path out, if there is one.
func remove(in any, path []string) {
	for len(path) > 1 {
		if in = child(in, path[0]); in == nil {
			return
		}
		path = path[1:]
	}
	switch parent := in.(type) {
	case map[string]any:
		delete(parent, path[0])
	case []any:
		if n, err := strconv.Atoi(path[0]); err == nil && n >= 0 && n < len(parent) {
			parent[n] = nil // its neighbours keep their places
		}
	}
}

func child(in any, key string) any {
	switch parent := in.(type) {
	case map[string]any:
		return parent[key]
	case []any:
		if n, err := strconv.Atoi(key); err == nil && n >= 0 && n < len(parent) {
			return parent[n]
		}
	}
	return nil
}

// at returns the value at a path.
func at(in any, path []string) (any, bool) {
	for _, key := range path {
		m, ok := in.(map[string]any)
		if ok {
			if in, ok = m[key]; !ok {
				return nil, false
			}
			continue
		}
		if in = child(in, key); in == nil {
			return nil, false
		}
	}
	return in, true
}

// withLive returns an object with the ignored fields as they are.
func withLive(o *unstructured.Unstructured, d *compared) *unstructured.Unstructured {
	out := o.DeepCopy()
	for _, path := range d.paths {
		value, ok := at(d.live.Object, path)
		if !ok {
			remove(out.Object, path)
			continue
		}
		if parent, found := at(out.Object, path[:len(path)-1]); found {
			put(parent, path[len(path)-1], value)
		}
	}
	return out
}

// put sets a child of a map, or of a list that is long enough.
func put(parent any, key string, value any) {
	switch p := parent.(type) {
	case map[string]any:
		p[key] = value
	case []any:
		if n, err := strconv.Atoi(key); err == nil && n >= 0 && n < len(p) {
			p[n] = value
		}
	}
}

// mergePatch leads from what is to what would be, but for the fields that others may change.
func mergePatch(d *compared) ([]byte, error) {
	is, err := json.Marshal(content(d.live, nil))
	if err != nil {
		return nil, err
	}
	would, err := json.Marshal(content(withLive(d.dry, d), nil))
	if err != nil {
		return nil, err
	}
	return jsonpatch.CreateMergePatch(is, would)
}
