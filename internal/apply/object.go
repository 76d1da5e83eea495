package apply

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Object is one desired object and the file it came from.
type Object struct {
	*unstructured.Unstructured
	// Origin is the path of the file inside the artifact, empty when unknown. It names the file
	// in errors and is never sent to the server.
	Origin string
	// Sensitive says that the object holds something that must not be shown, as a Secret always does: what a server
	// says when it refuses the object is cleared of the object's values.
	Sensitive bool
}

// Ref names one object of one API version.
type Ref struct {
	schema.GroupVersionKind
	Namespace string
	Name      string
}

// RefOf returns the reference of an object.
func RefOf(u *unstructured.Unstructured) Ref {
	return Ref{GroupVersionKind: u.GroupVersionKind(), Namespace: u.GetNamespace(), Name: u.GetName()}
}

// ID returns the inventory id of the object.
func (r Ref) ID() ID {
	return NewID(r.Namespace, r.Name, r.Group, r.Kind)
}

// Subject returns the text by which change logs and errors name the object: Kind/namespace/name,
// or Kind/name when cluster scoped.
func (r Ref) Subject() string {
	if r.Namespace == "" {
		return r.Kind + "/" + r.Name
	}
	return r.Kind + "/" + r.Namespace + "/" + r.Name
}

// ID is the inventory id of an object: <namespace>_<name>_<group>_<Kind>, with ":" of a name
// written "__". It leaves out the version, so that an API version bump keeps the id.
type ID string

// NewID builds an id from its parts.
func NewID(namespace, name, group, kind string) ID {
	return ID(namespace + "_" + strings.ReplaceAll(name, ":", "__") + "_" + group + "_" + kind)
}

// Parse returns the parts of the id; ok is false when the text is not an inventory id.
func (id ID) Parse() (namespace, name, group, kind string, ok bool) {
	namespace, rest, ok := strings.Cut(string(id), "_")
	if !ok {
		return "", "", "", "", false
	}
	i := strings.LastIndexByte(rest, '_')
	if i < 0 {
		return "", "", "", "", false
	}
	rest, kind = rest[:i], rest[i+1:]
	i = strings.LastIndexByte(rest, '_')
	if i < 0 {
		return "", "", "", "", false
	}
	name, group = strings.ReplaceAll(rest[:i], "__", ":"), rest[i+1:]
	return namespace, name, group, kind, name != "" && kind != ""
}

// Entry is one line of an Inventory.
type Entry struct {
	ID      ID
	Version string
}

// Ref returns the object that the entry names; ok is false when its id is malformed.
func (e Entry) Ref() (Ref, bool) {
	ns, name, group, kind, ok := e.ID.Parse()
	if !ok {
		return Ref{}, false
	}
	gvk := schema.GroupVersionKind{Group: group, Version: e.Version, Kind: kind}
	return Ref{GroupVersionKind: gvk, Namespace: ns, Name: name}, true
}

// Inventory is the list of the objects an owner is responsible for, in apply order.
type Inventory []Entry

// SameIDs reports whether both inventories name the same set of ids, order and versions ignored.
func (inv Inventory) SameIDs(other Inventory) bool {
	return len(inv.Without(other)) == 0 && len(other.Without(inv)) == 0
}

// Without returns the entries whose ids are not in other.
func (inv Inventory) Without(other Inventory) Inventory {
	drop := other.ids()
	var out Inventory
	for _, e := range inv {
		if !drop[e.ID] {
			out = append(out, e)
		}
	}
	return out
}

// Union returns inv followed by the entries of other whose ids inv lacks.
func (inv Inventory) Union(other Inventory) Inventory {
	out := append(Inventory(nil), inv...)
	return append(out, other.Without(inv)...)
}

func (inv Inventory) ids() map[ID]bool {
	ids := make(map[ID]bool, len(inv))
	for _, e := range inv {
		ids[e.ID] = true
	}
	return ids
}

// Owner is who the objects belong to. Group prefixes its label keys (<group>/name and
// <group>/namespace) and the keys of the per-object policies (<group>/ssa, …).
type Owner struct {
	Group     string
	Name      string
	Namespace string
}

// Labels returns the two owner labels.
func (o Owner) Labels() map[string]string {
	if o == (Owner{}) {
		return nil // an installation is nobody's inventory
	}
	return map[string]string{o.Group + "/name": o.Name, o.Group + "/namespace": o.Namespace}
}

// Owns reports whether the labels of a live object are exactly this owner's.
func (o Owner) Owns(obj metav1.Object) bool {
	labels := obj.GetLabels()
	return labels[o.Group+"/name"] == o.Name && labels[o.Group+"/namespace"] == o.Namespace
}
