package tracker

import "k8s.io/apimachinery/pkg/runtime/schema"

// stats counts what is tracked.
type stats struct {
	Owners, Objects, Kinds int
	// Denied are the kinds that are not watched.
	Denied []schema.GroupKind
}

func (t *Tracker) stats() stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := stats{Owners: len(t.owners), Kinds: len(t.kinds)}
	for _, o := range t.owners {
		s.Objects += len(o.objects)
	}
	for gk, k := range t.kinds {
		if k.denied {
			s.Denied = append(s.Denied, gk)
		}
	}
	return s
}
