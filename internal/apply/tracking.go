package apply

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// Record is what is remembered of an owned object after our last write or check of it.
type Record struct {
	// Desired is the hash of what the owner wanted; zero when that is not known any more.
	Desired Hash
	// UID, ResourceVersion and Generation are those of the live object.
	UID             types.UID
	ResourceVersion string
	Generation      int64
	// Entry is the hash of our own managedFields entry, time included; zero when there is none.
	Entry Hash
	// Meta is the hash of the labels and annotations that our entry owns, with their values.
	Meta Hash
	// Content is the hash of the live labels, annotations and all but metadata and status; zero
	// when it is not known.
	Content Hash
	// Watchable says that metadata tells whether the object is in step: our entry holds all that
	// was applied, the owner labels are on it, and no policy lets other values be. What is not
	// watchable is looked at with a dry-run.
	Watchable bool
	// VanishesWhenDone says that the object is a Job with a time to live.
	VanishesWhenDone bool
	// At is when the record was made, by the local monotonic clock.
	At time.Time
}

// Tracker knows live objects without asking the server. Implementations are safe for concurrent
// use.
type Tracker interface {
	// InStep reports that the live object is as the owner left it and that the owner still wants
	// what has this hash: it needs no request.
	InStep(id ID, desired Hash) bool
	// Record returns what is remembered of the object.
	Record(id ID) (Record, bool)
	// Note remembers the state of an object after a write or a check that found it unchanged.
	Note(id ID, r Record)
	// Reclaim reports that somebody took fields of ours: the object is written even when its
	// content is equal, to win the ownership back.
	Reclaim(id ID) bool
}

// Corrector is a Tracker that sees the live metadata of objects.
type Corrector interface {
	// Correctable returns the resourceVersion of a live object that the owner has applied as this hash, of which
	// somebody took fields, and whose metadata asks for nothing but the same apply again (see Plain): the dry-run
	// would tell nothing that is not known.
	Correctable(id ID, desired Hash) (version string, ok bool)
}

// Explainer is a Tracker that can say what a write put back.
type Explainer interface {
	// Explain is called after a write that Reclaim asked for, with the server's answer and before
	// Note. It returns which fields were put back and who had taken them, or nothing.
	Explain(id ID, answer *unstructured.Unstructured) string
}

// Memory is the Tracker of an owner that has no watch: it takes an object to be in step when the
// desired hash is the one of the last pass. Pass Options.Full at the interval, so that drift is
// looked for. The zero value is ready to use.
type Memory struct {
	mu      sync.Mutex
	records map[ID]Record
}

// InStep reports whether the last pass left the object at this hash.
func (m *Memory) InStep(id ID, desired Hash) bool {
	r, ok := m.Record(id)
	return ok && r.Desired == desired
}

// Record returns what the last pass left.
func (m *Memory) Record(id ID) (Record, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.records[id]
	return r, ok
}

// Note remembers a record.
func (m *Memory) Note(id ID, r Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records == nil {
		m.records = map[ID]Record{}
	}
	m.records[id] = r
}

// Reclaim is never true: without a watch nobody tells.
func (m *Memory) Reclaim(ID) bool { return false }

// Retain forgets what is not in the inventory; call it after a prune.
func (m *Memory) Retain(inv Inventory) {
	keep := inv.ids()
	m.mu.Lock()
	defer m.mu.Unlock()
	for id := range m.records {
		if !keep[id] {
			delete(m.records, id)
		}
	}
}

// Len returns how many objects are remembered.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.records)
}
