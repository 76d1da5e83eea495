package kernel

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Wake starts a pass over an object of one of the controller's kinds, as a changed referent would:
// for what a kind learns by means of its own, such as a watch on what it applied. It does not block.
func (m *Manager) Wake(kind schema.GroupKind, name types.NamespacedName) {
	for _, e := range m.engines {
		if e.gvk.GroupKind() == kind {
			e.wake(name, TriggerReference, priorityReference)
		}
	}
}
