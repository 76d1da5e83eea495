package health

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata"
)

// Hub shares metadata watches between all who wait in one cluster: one watch for each resource and
// namespace in which somebody waits. It surfaces nothing but resourceVersions.
type Hub struct {
	client metadata.Interface
	ctx    context.Context

	mu      sync.Mutex
	watches map[place]*hubWatch
}

type place struct {
	resource  schema.GroupVersionResource
	namespace string
}

// NewHub returns a hub whose watches end with the context.
func NewHub(ctx context.Context, client metadata.Interface) *Hub {
	return &Hub{client: client, ctx: ctx, watches: map[place]*hubWatch{}}
}

// hubWatch is one shared watch.
type hubWatch struct {
	cancel context.CancelFunc

	mu       sync.Mutex
	open     bool
	versions map[string]string // resourceVersion by name, "" once deleted
	users    map[*subscription]bool
}

// subscription is one object that somebody waits for.
type subscription struct {
	hub    *Hub
	at     place
	name   string
	watch  *hubWatch
	notify func()
}

// subscribe calls notify, which must not block, whenever the object changed or the watch was opened
// or lost.
func (h *Hub) subscribe(resource schema.GroupVersionResource, namespace, name string, notify func()) *subscription {
	at := place{resource, namespace}
	s := &subscription{hub: h, at: at, name: name, notify: notify}
	h.mu.Lock()
	defer h.mu.Unlock()
	w := h.watches[at]
	if w == nil {
		ctx, cancel := context.WithCancel(h.ctx)
		w = &hubWatch{cancel: cancel, versions: map[string]string{}, users: map[*subscription]bool{}}
		h.watches[at] = w
		go w.run(ctx, h.client.Resource(resource).Namespace(namespace))
	}
	s.watch = w
	w.mu.Lock()
	w.users[s] = true
	w.mu.Unlock()
	return s
}

// Follow calls notify, which must not block, whenever an object changed, until stop is called.
func (h *Hub) Follow(resource schema.GroupVersionResource, namespace, name string, notify func()) (stop func()) {
	return sync.OnceFunc(h.subscribe(resource, namespace, name, notify).close)
}

// state returns the last resourceVersion seen; seen is false while the watch is not open or has not
// seen the object.
func (s *subscription) state() (version string, seen, open bool) {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	version, seen = s.watch.versions[s.name]
	return version, seen, s.watch.open
}

// close ends the subscription, and the watch with its last one.
func (s *subscription) close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.watch.mu.Lock()
	delete(s.watch.users, s)
	last := len(s.watch.users) == 0
	s.watch.mu.Unlock()
	if last {
		s.watch.cancel()
		delete(s.hub.watches, s.at)
	}
}

// Watches returns how many watches are open, for tests and metrics.
func (h *Hub) Watches() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.watches)
}

// run keeps the watch open. Without a resourceVersion the server begins with the present state, so
// that nothing is missed between two watches.
func (w *hubWatch) run(ctx context.Context, r metadata.ResourceInterface) {
	for ctx.Err() == nil {
		timeout := int64(600)
		in, err := r.Watch(ctx, metav1.ListOptions{TimeoutSeconds: &timeout})
		if err != nil {
			w.setOpen(false)
			pause(ctx, retryAfter(err))
			continue
		}
		w.setOpen(true)
		w.consume(ctx, in)
		in.Stop()
		pause(ctx, 100*time.Millisecond)
	}
}

// retryAfter is long where the watch is not allowed: those who wait poll meanwhile.
func retryAfter(err error) time.Duration {
	if apierrors.IsForbidden(err) || apierrors.IsMethodNotSupported(err) || apierrors.IsNotFound(err) {
		return time.Minute
	}
	return time.Second
}

func (w *hubWatch) consume(ctx context.Context, in watch.Interface) {
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-in.ResultChan():
			if !ok || e.Type == watch.Error {
				return
			}
			if obj, ok := e.Object.(metav1.Object); ok && e.Type != watch.Bookmark {
				w.saw(obj.GetName(), obj.GetResourceVersion(), e.Type == watch.Deleted)
			}
		}
	}
}

func (w *hubWatch) saw(name, version string, deleted bool) {
	if deleted {
		version = ""
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.versions[name] = version
	for s := range w.users {
		if s.name == name {
			s.notify()
		}
	}
}

func (w *hubWatch) setOpen(open bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = open
	for s := range w.users {
		s.notify()
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
