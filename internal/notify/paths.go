package notify

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// paths finds Receivers by the path in their status.
type paths struct {
	mu     sync.RWMutex
	byPath map[string]map[types.NamespacedName]*notificationv1.Receiver
	synced func() bool
}

func newPaths() *paths {
	return &paths{byPath: map[string]map[types.NamespacedName]*notificationv1.Receiver{}, synced: func() bool { return false }}
}

// follow keeps the paths up to date until ctx ends.
func (p *paths) follow(ctx context.Context, m *kernel.Manager) error {
	informer, err := m.Cache().GetInformer(ctx, &notificationv1.Receiver{})
	if err != nil {
		return fmt.Errorf("follow receivers: %w", err)
	}
	registration, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { p.replace(nil, obj) },
		UpdateFunc: func(old, now any) { p.replace(old, now) },
		DeleteFunc: func(obj any) {
			if gone, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			p.replace(obj, nil)
		},
	})
	if err != nil {
		return fmt.Errorf("follow receivers: %w", err)
	}
	p.mu.Lock()
	p.synced = registration.HasSynced
	p.mu.Unlock()
	<-ctx.Done()
	return informer.RemoveEventHandler(registration)
}

func (p *paths) replace(old, now any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r, ok := old.(*notificationv1.Receiver); ok {
		at := p.byPath[r.Status.WebhookPath]
		delete(at, keyOf(r))
		if len(at) == 0 {
			delete(p.byPath, r.Status.WebhookPath)
		}
	}
	if r, ok := now.(*notificationv1.Receiver); ok && r.Status.WebhookPath != "" {
		if p.byPath[r.Status.WebhookPath] == nil {
			p.byPath[r.Status.WebhookPath] = map[types.NamespacedName]*notificationv1.Receiver{}
		}
		p.byPath[r.Status.WebhookPath][keyOf(r)] = r
	}
}

func keyOf(r *notificationv1.Receiver) types.NamespacedName {
	return types.NamespacedName{Namespace: r.Namespace, Name: r.Name}
}

// find returns the Receivers at a path; they are not to be changed. Not ok means that they are not
// all known yet.
func (p *paths) find(path string) (found []*notificationv1.Receiver, ok bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	for _, r := range p.byPath[path] {
		found = append(found, r)
	}
	return found, len(found) > 0 || p.synced()
}
