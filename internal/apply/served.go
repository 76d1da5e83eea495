package apply

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Kinds lists what the server serves. What was read longer than maxAge ago is read again, once for all who ask; kinds
// learned from definitions in between are in the list.
func (m *Mapper) Kinds(ctx context.Context, maxAge time.Duration) ([]schema.GroupVersionKind, error) {
	m.mu.RLock()
	stale := m.kinds == nil || m.now().Sub(m.read) > maxAge
	m.mu.RUnlock()
	if stale {
		if err := m.refresh(ctx); err != nil {
			return nil, err
		}
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	kinds := make([]schema.GroupVersionKind, 0, len(m.kinds))
	for gvk := range m.kinds {
		kinds = append(kinds, gvk)
	}
	return kinds, nil
}
