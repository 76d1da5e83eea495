package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// pollAfter is the pause before an object is read again when its watch could not be had or broke.
const pollAfter = 2 * time.Second

// Event is one change that a watch reports.
type Event struct {
	Type   watch.EventType `json:"type"`
	Object json.RawMessage `json:"object"`
}

// errStop ends a watch from inside without being an error.
var errStop = errors.New("stop")

// Watch calls each with every change since resourceVersion, until the context ends, the server
// closes the stream (nil) or each returns an error.
func (c *Client) Watch(ctx context.Context, r Resource, opts ListOptions, resourceVersion string, each func(Event) error) error {
	req := c.request(http.MethodGet, r, opts.Namespace, "").
		Param("watch", "true").Param("resourceVersion", resourceVersion)
	if opts.Labels != "" {
		req.Param("labelSelector", opts.Labels)
	}
	if opts.Fields != "" {
		req.Param("fieldSelector", opts.Fields)
	}
	body, err := req.Stream(ctx)
	if err != nil {
		return c.explain(ctx, err)
	}
	defer body.Close()
	decoder := json.NewDecoder(body)
	for {
		var event Event
		if err := decoder.Decode(&event); err != nil {
			// However a stream ends, what to do is to look again and watch anew.
			return ctx.Err()
		}
		if event.Type == watch.Error {
			var status metav1.Status
			if err := json.Unmarshal(event.Object, &status); err != nil {
				return fmt.Errorf("decode an error of the watch: %w", err)
			}
			return apierrors.FromObject(&status)
		}
		if err := each(event); err != nil {
			return err
		}
	}
}

// IsTooOld reports whether a watch, or a page of a list, cannot go on because the server no longer knows the version from
// which it should: the list has to be read anew.
func IsTooOld(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }

// Waiter is what WaitFor waits for: an object, how to make an empty one of its type, and when
// to be content. Done may fail, which ends the wait.
type Waiter[O metav1.Object] struct {
	Resource  Resource
	Namespace string
	Name      string
	New       func() O
	Done      func(O) (bool, error)
}

// WaitFor reads the object and watches it until it is done. At the end of the context it
// returns the context's error.
func WaitFor[O metav1.Object](ctx context.Context, c *Client, w Waiter[O]) (O, error) {
	var none O
	for {
		current := w.New()
		if err := c.Get(ctx, w.Resource, w.Namespace, w.Name, current); err != nil {
			return none, err
		}
		if ok, err := w.Done(current); ok || err != nil {
			return current, err
		}
		last, over, err := w.watch(ctx, c, current.GetResourceVersion())
		if over {
			return last, err
		}
		select {
		case <-ctx.Done():
			return none, ctx.Err()
		case <-time.After(pollAfter):
		}
	}
}

// watch follows the object from a resourceVersion on; over is false when the watch broke and
// the object should be read again.
func (w Waiter[O]) watch(ctx context.Context, c *Client, version string) (last O, over bool, err error) {
	opts := ListOptions{Namespace: w.Namespace, Fields: "metadata.name=" + w.Name}
	var verdict error
	err = c.Watch(ctx, w.Resource, opts, version, func(event Event) error {
		if event.Type == watch.Deleted {
			verdict = apierrors.NewNotFound(w.Resource.GroupResource(), w.Name)
			return errStop
		}
		seen := w.New()
		if err := json.Unmarshal(event.Object, seen); err != nil {
			return fmt.Errorf("decode %s %s: %w", w.Resource.Kind, w.Name, err)
		}
		ok, err := w.Done(seen)
		if !ok && err == nil {
			return nil
		}
		last, verdict = seen, err
		return errStop
	})
	switch {
	case errors.Is(err, errStop):
		return last, true, verdict
	case ctx.Err() != nil:
		return last, true, ctx.Err()
	}
	return last, false, nil
}
