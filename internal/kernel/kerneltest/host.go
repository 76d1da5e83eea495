// Package kerneltest helps to test what stands on the kernel: a host that records what a kind
// tells it, so that Reconcile can be called like a function, and a small kind of its own with
// its CRD, on which the kernel's tests prove the life of a reconciliation.
package kerneltest

import (
	"context"
	"sync"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Host records what a kind under test reports. The zero value is ready for use.
type Host struct {
	// Object receives checkpoints; nil drops them.
	Object meta.Object

	mu          sync.Mutex
	progress    []kernel.Progress
	events      []kernel.Event
	checkpoints int
	memory      any
}

// Request returns a request for obj on a new recording host.
func Request[T meta.Object](obj T) (*kernel.Request[T], *Host) {
	h := &Host{Object: obj}
	return kernel.NewRequest(obj, h), h
}

// Progress implements kernel.Host.
func (h *Host) Progress(p kernel.Progress) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.progress = append(h.progress, p)
}

// Checkpoint implements kernel.Host.
func (h *Host) Checkpoint(_ context.Context, change func(meta.Object)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checkpoints++
	if h.Object != nil {
		change(h.Object)
	}
	return nil
}

// Event implements kernel.Host.
func (h *Host) Event(e kernel.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
}

// Memory implements kernel.Host.
func (h *Host) Memory() any {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.memory
}

// Remember implements kernel.Host.
func (h *Host) Remember(v any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.memory = v
}

// Reported returns the progress messages in order.
func (h *Host) Reported() []kernel.Progress {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]kernel.Progress(nil), h.progress...)
}

// Events returns the events sent in the middle of the work, in order.
func (h *Host) Events() []kernel.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]kernel.Event(nil), h.events...)
}

// Checkpoints returns how many checkpoints were written.
func (h *Host) Checkpoints() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.checkpoints
}
