package apply

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/gitops-toolkit/flux/api/meta"
)

// ignoreRule is a compiled rule.
type ignoreRule struct {
	*Selector
	paths [][]string
}

func compileIgnore(rules []meta.IgnoreRule) ([]ignoreRule, error) {
	out := make([]ignoreRule, 0, len(rules))
	for i, r := range rules {
		c, err := compileRule(r)
		if err != nil {
			return nil, fmt.Errorf("ignore rule %d: %w", i, err)
		}
		out = append(out, c)
	}
	return out, nil
}

func compileRule(r meta.IgnoreRule) (c ignoreRule, err error) {
	for _, p := range r.Paths {
		if !strings.HasPrefix(p, "/") {
			return c, fmt.Errorf("path %q is not a JSON pointer: begin it with /", p)
		}
		c.paths = append(c.paths, PointerTokens(p))
	}
	if c.Selector, err = CompileSelector(r.Target); err != nil {
		return c, fmt.Errorf("target.%w", err)
	}
	return c, nil
}

// PointerTokens takes a JSON pointer (RFC 6901) apart.
func PointerTokens(pointer string) []string {
	tokens := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i, t := range tokens {
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(t)
	}
	return tokens
}

func (p *pass) rulesFor(u *unstructured.Unstructured) []ignoreRule {
	var out []ignoreRule
	for _, r := range p.rules {
		if r.Picks(u) {
			out = append(out, r)
		}
	}
	return out
}

// strip returns the object without its ignored fields.
func strip(u *unstructured.Unstructured, rules []ignoreRule) *unstructured.Unstructured {
	out := u.DeepCopy()
	for _, path := range deepestFirst(rules) {
		removeAt(out.Object, path)
	}
	return out
}

// WithoutIgnored returns the object without the fields that the rules leave to others.
func WithoutIgnored(u *unstructured.Unstructured, rules []meta.IgnoreRule) (*unstructured.Unstructured, error) {
	compiled, err := compileIgnore(rules)
	if err != nil {
		return nil, err
	}
	compiled = slices.DeleteFunc(compiled, func(r ignoreRule) bool { return !r.Picks(u) })
	return strip(u, compiled), nil
}

// adopt returns what to send for an object some of whose fields are ignored: a field that another
// Apply manager owns is left out, another one takes the live value.
func adopt(desired, live *unstructured.Unstructured, rules []ignoreRule, manager string) *unstructured.Unstructured {
	if len(rules) == 0 {
		return desired
	}
	owned := appliedByOthers(live, manager)
	out := desired.DeepCopy()
	for _, path := range deepestFirst(rules) {
		want, wanted := valueAt(desired.Object, path)
		have, exists := valueAt(live.Object, path)
		if !wanted || exists && reflect.DeepEqual(want, have) {
			continue
		}
		if !exists || owns(owned, live.Object, path) {
			removeAt(out.Object, path)
			continue
		}
		setAt(out.Object, path, have)
	}
	return out
}

// deepestFirst lists the paths of all rules so that removing list items by index, from the end, does
// not move those that are still to be removed.
func deepestFirst(rules []ignoreRule) [][]string {
	var paths [][]string
	for _, r := range rules {
		paths = append(paths, r.paths...)
	}
	slices.SortStableFunc(paths, func(a, b []string) int {
		for i := range min(len(a), len(b)) {
			x, errX := strconv.Atoi(a[i])
			y, errY := strconv.Atoi(b[i])
			if errX == nil && errY == nil && x != y {
				return y - x
			}
			if a[i] != b[i] {
				return strings.Compare(a[i], b[i])
			}
		}
		return len(b) - len(a)
	})
	return paths
}

func valueAt(v any, path []string) (any, bool) {
	for _, token := range path {
		switch node := v.(type) {
		case map[string]any:
			child, ok := node[token]
			if !ok {
				return nil, false
			}
			v = child
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(node) {
				return nil, false
			}
			v = node[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// setAt replaces the value at an existing path.
func setAt(root map[string]any, path []string, value any) {
	parent, ok := valueAt(root, path[:len(path)-1])
	if !ok {
		return
	}
	last := path[len(path)-1]
	switch node := parent.(type) {
	case map[string]any:
		node[last] = value
	case []any:
		if i, err := strconv.Atoi(last); err == nil && i >= 0 && i < len(node) {
			node[i] = value
		}
	}
}

func removeAt(root map[string]any, path []string) {
	parent, ok := valueAt(root, path[:len(path)-1])
	if !ok {
		return
	}
	last := path[len(path)-1]
	switch node := parent.(type) {
	case map[string]any:
		delete(node, last)
	case []any:
		i, err := strconv.Atoi(last)
		if err != nil || i < 0 || i >= len(node) {
			return
		}
		shorter := slices.Concat(node[:i:i], node[i+1:])
		if len(path) > 1 {
			setAt(root, path[:len(path)-1], shorter)
		}
	}
}

// appliedByOthers is the union of the fields that other managers own by Apply.
func appliedByOthers(u *unstructured.Unstructured, manager string) *fieldpath.Set {
	owned := &fieldpath.Set{}
	for _, e := range u.GetManagedFields() {
		if e.Operation != metav1.ManagedFieldsOperationApply || e.Manager == manager || e.Subresource != "" {
			continue
		}
		if set := decodeFields(e); set != nil {
			owned = owned.Union(set)
		}
	}
	return owned
}

// owns reports whether the set holds the field at the pointer, the list it is an item of as a whole,
// or anything below it.
func owns(set *fieldpath.Set, root any, path []string) bool {
	for _, token := range path {
		pe, ok := elementOf(set, root, token)
		if !ok {
			return false
		}
		child, deeper := set.Children.Get(pe)
		if !deeper {
			return set.Members.Has(pe) // a leaf, or an atomic map or list
		}
		set = child
		if root, ok = valueAt(root, []string{token}); !ok {
			return false
		}
	}
	return true
}

// elementOf finds the path element of the set that stands for a token: a field, or for a list index
// the element whose key or value is that of the live item.
func elementOf(set *fieldpath.Set, node any, token string) (fieldpath.PathElement, bool) {
	list, ok := node.([]any)
	if !ok {
		return fieldpath.PathElement{FieldName: &token}, true
	}
	i, err := strconv.Atoi(token)
	if err != nil || i < 0 || i >= len(list) {
		return fieldpath.PathElement{}, false
	}
	var found fieldpath.PathElement
	has := false
	visit := func(pe fieldpath.PathElement) {
		if !has && sameItem(pe, list[i], i) {
			found, has = pe, true
		}
	}
	set.Members.Iterate(visit)
	for pe := range set.Children.All() {
		visit(pe)
	}
	return found, has
}

func sameItem(pe fieldpath.PathElement, item any, index int) bool {
	switch {
	case pe.Index != nil:
		return *pe.Index == index
	case pe.Value != nil:
		return reflect.DeepEqual((*pe.Value).Unstructured(), item)
	case pe.Key != nil:
		m, ok := item.(map[string]any)
		if !ok {
			return false
		}
		for _, f := range *pe.Key {
			if !reflect.DeepEqual(f.Value.Unstructured(), m[f.Name]) {
				return false
			}
		}
		return true
	}
	return false
}
