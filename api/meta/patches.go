package meta

import "encoding/json"

// Selector picks objects; an empty field matches all, the others are regular expressions that
// must match whole.
type Selector struct {
	// Group of the objects' API.
	// +optional
	Group string `json:"group,omitempty"`
	// Version of the objects' API.
	// +optional
	Version string `json:"version,omitempty"`
	// Kind of the objects.
	// +optional
	Kind string `json:"kind,omitempty"`
	// Name of the objects.
	// +optional
	Name string `json:"name,omitempty"`
	// Namespace of the objects.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// AnnotationSelector over the objects' annotations, in the syntax of label selectors.
	// +optional
	AnnotationSelector string `json:"annotationSelector,omitempty"`
	// LabelSelector over the objects' labels.
	// +optional
	LabelSelector string `json:"labelSelector,omitempty"`
}

// Patch changes the objects that its target picks.
type Patch struct {
	// Patch is a strategic merge patch or a list of JSON 6902 operations, as YAML or JSON.
	// +required
	Patch string `json:"patch"`
	// Target picks the objects. A strategic merge patch without one applies to the object
	// that it names.
	// +optional
	Target *Selector `json:"target,omitempty"`
}

// Image replaces the name, tag or digest of an image wherever it is used.
type Image struct {
	// Name of the image as it stands in the objects, without its tag.
	// +required
	Name string `json:"name"`
	// NewName to put in its place.
	// +optional
	NewName string `json:"newName,omitempty"`
	// NewTag to put in its place.
	// +optional
	NewTag string `json:"newTag,omitempty"`
	// Digest to put in place of the tag; it wins over NewTag.
	// +optional
	Digest string `json:"digest,omitempty"`
}

// IgnoreRule names fields that are left to whoever else writes them.
type IgnoreRule struct {
	// Paths of the fields as JSON pointers (RFC 6901).
	// +required
	Paths []string `json:"paths"`
	// Target picks the objects, all when absent.
	// +optional
	Target *Selector `json:"target,omitempty"`
}

// JSON6902Patch is a list of operations on the objects that its target picks.
//
// It is of the beta versions only; see Patch.
type JSON6902Patch struct {
	// Patch is the list of operations.
	// +required
	Patch []JSON6902 `json:"patch"`
	// Target picks the objects.
	// +required
	Target Selector `json:"target"`
}

// JSON6902 is one operation of RFC 6902.
//
// It is of the beta versions only; see Patch.
type JSON6902 struct {
	// Op is the operation.
	// +required
	// +kubebuilder:validation:Enum=test;remove;add;replace;move;copy
	Op string `json:"op"`
	// Path of the value that is changed.
	// +required
	Path string `json:"path"`
	// From is the path that move and copy take the value from.
	// +optional
	From string `json:"from,omitempty"`
	// Value that add, replace and test use.
	// +optional
	Value *JSON `json:"value,omitempty"`
}

// LegacyPatches joins the patch lists of the beta versions into the one of today: strategic
// merges first, then the patches, then the JSON 6902 lists, the order in which they ran.
func LegacyPatches(merges []JSON, patches []Patch, ops []JSON6902Patch) []Patch {
	if len(merges) == 0 && len(ops) == 0 {
		return patches
	}
	all := make([]Patch, 0, len(merges)+len(patches)+len(ops))
	for _, m := range merges {
		all = append(all, Patch{Patch: string(m.Raw)})
	}
	all = append(all, patches...)
	for _, o := range ops {
		// The types hold nothing that cannot be written as JSON but a value that was not
		// JSON when it was read, and such an object does not exist.
		text, _ := json.Marshal(o.Patch)
		target := o.Target
		all = append(all, Patch{Patch: string(text), Target: &target})
	}
	return all
}
