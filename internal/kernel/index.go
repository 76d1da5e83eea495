package kernel

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// index knows who of one kind reads what, in both directions.
type index struct {
	group, kind string

	mu   sync.RWMutex
	refs map[types.NamespacedName][]Reference
	by   map[refKey]map[types.NamespacedName]Change
}

func newIndex(group, kind string) *index {
	return &index{
		group: group, kind: kind,
		refs: map[types.NamespacedName][]Reference{},
		by:   map[refKey]map[types.NamespacedName]Change{},
	}
}

// normalize fills in the referrer's namespace and the meaning of a zero Wake.
func normalize(name types.NamespacedName, refs []Reference) []Reference {
	out := slices.Clone(refs)
	for i := range out {
		if out[i].Namespace == "" {
			out[i].Namespace = name.Namespace
		}
		if out[i].Wake == 0 {
			out[i].Wake = OnAny
		}
	}
	return out
}

// set replaces the references of an object. It returns the objects that were in a circle with
// it before or are now, if the edges changed: all of them have to look again.
func (x *index) set(name types.NamespacedName, refs []Reference) []types.NamespacedName {
	refs = normalize(name, refs)
	x.mu.Lock()
	defer x.mu.Unlock()
	if slices.Equal(x.refs[name], refs) {
		return nil
	}
	woken := x.circle(name)
	x.unlink(name)
	if len(refs) > 0 {
		x.refs[name] = refs
	}
	for _, r := range refs {
		k := r.key()
		if x.by[k] == nil {
			x.by[k] = map[types.NamespacedName]Change{}
		}
		x.by[k][name] |= r.Wake
	}
	maps.Copy(woken, x.circle(name))
	delete(woken, name)
	return slices.Collect(maps.Keys(woken))
}

// remove forgets an object as a referrer and returns the others of its circle.
func (x *index) remove(name types.NamespacedName) []types.NamespacedName {
	return x.set(name, nil)
}

func (x *index) unlink(name types.NamespacedName) {
	for _, r := range x.refs[name] {
		k := r.key()
		delete(x.by[k], name)
		if len(x.by[k]) == 0 {
			delete(x.by, k)
		}
	}
	delete(x.refs, name)
}

// referrers returns who reads the object, by its name or with all others of its namespace, and wants to know of one of
// the changes.
func (x *index) referrers(k refKey, c Change) []types.NamespacedName {
	x.mu.RLock()
	defer x.mu.RUnlock()
	all := k
	all.Name = AnyName
	var out []types.NamespacedName
	for name, wake := range x.by[k] {
		if wake&c != 0 {
			out = append(out, name)
		}
	}
	for name, wake := range x.by[all] {
		if wake&c != 0 && x.by[k][name]&c == 0 {
			out = append(out, name)
		}
	}
	return out
}

// of returns the references of an object.
func (x *index) of(name types.NamespacedName) []Reference {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.refs[name]
}

// cycle returns the shortest circle of dependsOn through name, from name back to name, or nil.
func (x *index) cycle(name types.NamespacedName) []types.NamespacedName {
	x.mu.RLock()
	defer x.mu.RUnlock()
	from := map[types.NamespacedName]types.NamespacedName{}
	line := []types.NamespacedName{name}
	for len(line) > 0 {
		at := line[0]
		line = line[1:]
		for _, next := range x.dependencies(at) {
			if next == name {
				return x.path(name, at, from)
			}
			if _, seen := from[next]; !seen {
				from[next] = at
				line = append(line, next)
			}
		}
	}
	return nil
}

func (x *index) path(name, last types.NamespacedName, from map[types.NamespacedName]types.NamespacedName) []types.NamespacedName {
	out := []types.NamespacedName{name}
	for at := last; at != name; at = from[at] {
		out = append(out, at)
	}
	out = append(out, name)
	slices.Reverse(out)
	return out
}

func (x *index) dependencies(name types.NamespacedName) []types.NamespacedName {
	var out []types.NamespacedName
	for _, r := range x.refs[name] {
		if r.DependsOn && r.Kind == x.kind && r.Group == x.group {
			out = append(out, r.key().NamespacedName)
		}
	}
	return out
}

// circle returns all objects that depend on name and on which name depends.
func (x *index) circle(name types.NamespacedName) map[types.NamespacedName]bool {
	members := map[types.NamespacedName]bool{}
	if len(x.dependencies(name)) == 0 {
		return members
	}
	up := x.reach(name, x.dependents)
	for n := range x.reach(name, x.dependencies) {
		if up[n] {
			members[n] = true
		}
	}
	return members
}

func (x *index) dependents(name types.NamespacedName) []types.NamespacedName {
	var out []types.NamespacedName
	for n := range x.by[refKey{x.group, x.kind, name}] {
		if slices.Contains(x.dependencies(n), name) {
			out = append(out, n)
		}
	}
	return out
}

func (x *index) reach(name types.NamespacedName, step func(types.NamespacedName) []types.NamespacedName) map[types.NamespacedName]bool {
	seen := map[types.NamespacedName]bool{}
	line := []types.NamespacedName{name}
	for len(line) > 0 {
		at := line[0]
		line = line[1:]
		for _, next := range step(at) {
			if !seen[next] {
				seen[next] = true
				line = append(line, next)
			}
		}
	}
	return seen
}
