package harness

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
)

// Churn follows the objects of one resource and namespace and keeps, of each, whether a write
// moved its resourceVersion without changing what it says.
type Churn struct {
	stop context.CancelFunc
	done chan struct{}

	mu      sync.Mutex
	last    map[types.UID]sight
	idle    []string
	changes int
	err     error
}

type sight struct{ version, content string }

// FollowChurn begins with the objects that exist.
func FollowChurn(ctx context.Context, client dynamic.Interface, gvr schema.GroupVersionResource, namespace string) (*Churn, error) {
	ctx, cancel := context.WithCancel(ctx)
	c := &Churn{stop: cancel, done: make(chan struct{}), last: map[types.UID]sight{}}
	resource := client.Resource(gvr).Namespace(namespace)
	list, err := resource.List(ctx, metav1.ListOptions{})
	if err != nil {
		cancel()
		return nil, err
	}
	for i := range list.Items {
		c.see(&list.Items[i])
	}
	events, err := resource.Watch(ctx, metav1.ListOptions{ResourceVersion: list.GetResourceVersion()})
	if err != nil {
		cancel()
		return nil, err
	}
	go c.follow(ctx, events)
	return c, nil
}

func (c *Churn) follow(ctx context.Context, events watch.Interface) {
	defer close(c.done)
	defer events.Stop()
	for e := range events.ResultChan() {
		if o, ok := e.Object.(*unstructured.Unstructured); ok && e.Type != watch.Deleted {
			c.see(o)
		} else if e.Type == watch.Error && ctx.Err() == nil {
			c.fail(fmt.Errorf("the watch ended early: %v", e.Object))
			return
		}
	}
	if ctx.Err() == nil {
		c.fail(fmt.Errorf("the watch ended early"))
	}
}

func (c *Churn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (c *Churn) see(o *unstructured.Unstructured) {
	now := sight{o.GetResourceVersion(), Content(o)}
	c.mu.Lock()
	defer c.mu.Unlock()
	before, known := c.last[o.GetUID()]
	c.last[o.GetUID()] = now
	switch {
	case !known || before.version == now.version:
	case before.content == now.content:
		c.idle = append(c.idle, fmt.Sprintf("%s/%s: %s became %s", o.GetKind(), o.GetName(), before.version, now.version))
	default:
		c.changes++
	}
}

// Stop ends the watch and returns how many writes changed an object, and those that did not.
func (c *Churn) Stop() (changes int, idle []string, err error) {
	c.stop()
	<-c.done
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changes, c.idle, c.err
}

// Content is a digest of all that an object says: without its resourceVersion, and without who
// wrote which field when.
func Content(o *unstructured.Unstructured) string {
	o = o.DeepCopy()
	o.SetResourceVersion("")
	o.SetManagedFields(nil)
	data, err := json.Marshal(o.Object) // keys are sorted
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}
