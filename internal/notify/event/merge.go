package event

import (
	"maps"
	"slices"
	"strings"
)

// Layer is one source of metadata.
type Layer struct {
	// Name for people, in the warning about conflicts.
	Name string
	// Values under plain keys.
	Values map[string]string
}

// Names of the layers in the order of their weight, the least first.
const (
	LayerObject     = "involved object annotations"
	LayerAlert      = "Alert object .spec.eventMetadata"
	LayerSummary    = "Alert object .spec.summary"
	LayerController = "involved object controller metadata"
)

// Layers returns the event's own metadata under plain keys, in two layers.
func (e *Event) Layers() (object, controller Layer) {
	object = Layer{Name: LayerObject, Values: map[string]string{}}
	controller = Layer{Name: LayerController, Values: map[string]string{}}
	own := e.Group() + "/"
	for k, v := range e.Metadata {
		if rest, ok := strings.CutPrefix(k, AnnotationPrefix); ok {
			object.Values[rest] = v
		} else if rest, ok := strings.CutPrefix(k, own); ok {
			controller.Values[rest] = v
		}
	}
	return object, controller
}

// Merge lays layers over each other: the last one that has a key wins. conflicts tells which
// layers have a key in common.
func Merge(layers ...Layer) (merged map[string]string, conflicts map[string][]string) {
	merged = map[string]string{}
	from := map[string][]string{}
	for _, l := range layers {
		maps.Copy(merged, l.Values)
		for k := range l.Values {
			from[k] = append(from[k], l.Name)
		}
	}
	maps.DeleteFunc(from, func(_ string, names []string) bool { return len(names) < 2 })
	if len(from) > 0 {
		conflicts = from
	}
	return merged, conflicts
}

// With returns a copy of the event with other metadata. Empty metadata leaves what is there.
func (e *Event) With(metadata map[string]string) *Event {
	out := *e
	if len(metadata) > 0 {
		out.Metadata = metadata
	}
	return &out
}

// Field is one entry of metadata.
type Field struct{ Key, Value string }

// Fields returns the metadata sorted by key.
func (e *Event) Fields() []Field {
	out := make([]Field, 0, len(e.Metadata))
	for _, k := range slices.Sorted(maps.Keys(e.Metadata)) {
		out = append(out, Field{k, e.Metadata[k]})
	}
	return out
}
