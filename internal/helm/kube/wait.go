package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	helm "helm.sh/helm/v4/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/apply/health"
)

// ErrCancelled is wrapped by the error of a wait that was cancelled: no verdict about the objects.
var ErrCancelled = errors.New("the wait was cancelled")

// transient tells whether the text of a server's error is about its storage electing a leader.
func transient(text string) bool {
	return strings.HasSuffix(text, "etcdserver: leader changed") || strings.Contains(text, "raft proposal dropped")
}

// GetWaiter returns what waits for objects, whatever strategy Helm asks for: the options decide.
func (c *Client) GetWaiter(helm.WaitStrategy) (helm.Waiter, error) {
	w := &waiter{c: c}
	if c.Legacy && !c.NoWait {
		old, err := c.legacy.GetWaiter(helm.LegacyStrategy)
		if err != nil {
			return nil, err
		}
		w.old = old
	}
	return w, nil
}

// waiter is Helm's Waiter.
type waiter struct {
	c   *Client
	old helm.Waiter
}

// Wait waits until objects are ready, Jobs left out.
func (w *waiter) Wait(list helm.ResourceList, timeout time.Duration) error {
	if w.c.NoWait {
		return nil
	}
	if w.old != nil {
		return w.cancelled(w.old.Wait(w.asked(list), timeout))
	}
	return w.wait(w.objects(list, false), timeout)
}

// WaitWithJobs waits until objects are ready and Jobs complete.
func (w *waiter) WaitWithJobs(list helm.ResourceList, timeout time.Duration) error {
	if w.c.NoWait {
		return nil
	}
	if w.old != nil {
		return w.cancelled(w.old.WaitWithJobs(w.asked(list), timeout))
	}
	return w.wait(w.objects(list, true), timeout)
}

// asked gives Helm's own waiter objects that it can ask the server for.
func (w *waiter) asked(list helm.ResourceList) helm.ResourceList {
	out := make(helm.ResourceList, len(list))
	for n, i := range list {
		copied := *i
		copied.Client = real(i.Client)
		out[n] = &copied
	}
	return out
}

// cancelled tells a wait that was cancelled from one that failed.
func (w *waiter) cancelled(err error) error {
	if err != nil && w.c.WaitContext.Err() != nil {
		return fmt.Errorf("%w: %w", ErrCancelled, context.Cause(w.c.WaitContext))
	}
	return err
}

func (w *waiter) wait(objects []health.Object, timeout time.Duration) error {
	res := health.Wait(w.c.WaitContext, objects, health.Options{
		Client: w.c.cluster.apply, Watch: w.c.Watch, Timeout: timeout, Exprs: w.c.Exprs, ExprsForJobs: true,
	})
	if res.Cancelled {
		return w.cancelled(res.Err)
	}
	if res.Err != nil && res.Details != "" {
		return &notReadyError{res.Err, res.Details}
	}
	return res.Err
}

// notReadyError is that of a wait that ended without what it waited for. Its text is the one that people know, and goes
// into Helm's storage; the details are for who reads the object.
type notReadyError struct {
	error
	details string
}

func (e *notReadyError) Unwrap() error { return e.error }

// Details tells why objects were not ready, a line for each, where that is what an action failed of.
func Details(err error) string {
	var e *notReadyError
	if errors.As(err, &e) {
		return e.details
	}
	return ""
}

// objects are those to wait for. The answers to the writes show which are healthy already.
func (w *waiter) objects(list helm.ResourceList, jobs bool) []health.Object {
	var out []health.Object
	for _, i := range list {
		u, ok := i.Object.(*unstructured.Unstructured)
		if !ok {
			u = &unstructured.Unstructured{}
		}
		gk := kindOf(i)
		job := gk.Group == "batch" && gk.Kind == "Job"
		paused, _, _ := unstructured.NestedBool(u.Object, "spec", "paused")
		if job && !jobs || gk.Group == "apps" && gk.Kind == "Deployment" && paused {
			continue
		}
		_, ttl, _ := unstructured.NestedInt64(u.Object, "spec", "ttlSecondsAfterFinished")
		out = append(out, health.Object{
			Ref:              apply.Ref{GroupVersionKind: i.Mapping.GroupVersionKind, Namespace: i.Namespace, Name: i.Name},
			VanishesWhenDone: job && ttl, Current: w.current(u),
		})
	}
	return out
}

func (w *waiter) current(u *unstructured.Unstructured) bool {
	if u.GetUID() == "" {
		return false // not an answer of the server
	}
	st, _, err := health.Compute(context.Background(), u, w.c.Exprs, true)
	return err == nil && st == status.CurrentStatus
}

// hookExprs tell when a Pod of a hook is done.
var hookExprs = sync.OnceValue(func() *health.Exprs {
	x, err := health.CompileExprs([]health.Expr{{
		APIVersion: "v1", Kind: "Pod", Current: "has(status.phase) && status.phase == 'Succeeded'", Failed: "has(status.phase) && status.phase == 'Failed'",
	}})
	if err != nil {
		panic(err) // a constant
	}
	return x
})

// WatchUntilReady waits for hooks: Jobs until they are complete, Pods until they have succeeded; others are ready.
func (w *waiter) WatchUntilReady(list helm.ResourceList, timeout time.Duration) error {
	var out []health.Object
	for _, i := range list {
		gk := kindOf(i)
		if gk.Kind == "Job" && gk.Group == "batch" || gk.Kind == "Pod" && gk.Group == "" {
			out = append(out, health.Object{Ref: apply.Ref{GroupVersionKind: i.Mapping.GroupVersionKind, Namespace: i.Namespace, Name: i.Name}})
		}
	}
	if len(out) == 0 {
		return nil
	}
	res := health.Wait(context.Background(), out, health.Options{
		Client: w.c.cluster.apply, Watch: w.c.Watch, Timeout: timeout, Exprs: hookExprs(), DisableFailFast: true, PollInterval: time.Second,
	})
	if res.Err != nil && res.Details != "" {
		return &notReadyError{res.Err, res.Details}
	}
	return res.Err
}

// WaitForDelete waits until objects are gone.
func (w *waiter) WaitForDelete(list helm.ResourceList, timeout time.Duration) error {
	parent := context.Background()
	if w.c.Uninstalling {
		if w.c.NoWait {
			return nil
		}
		parent = w.c.WaitContext
	}
	ctx, cancel := context.WithTimeout(parent, timeout)
	defer cancel()
	left := append(helm.ResourceList(nil), list...)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		var still helm.ResourceList
		for _, i := range left {
			gone, err := w.gone(ctx, i)
			if err != nil && ctx.Err() == nil {
				return err
			}
			if !gone {
				still = append(still, i)
			}
		}
		if left = still; len(left) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			if parent.Err() != nil {
				return w.cancelled(ctx.Err())
			}
			return fmt.Errorf("timeout waiting for the end of: [%s]", subjects(left))
		case <-time.After(pause):
		}
	}
}

func subjects(list helm.ResourceList) string {
	names := make([]string, len(list))
	for n, i := range list {
		names[n] = subject(i)
	}
	return strings.Join(names, ", ")
}

func (w *waiter) gone(ctx context.Context, i *resource.Info) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	m := w.c.cluster.apply.Metadata().Resource(i.Mapping.Resource)
	var err error
	if i.Namespaced() {
		_, err = m.Namespace(i.Namespace).Get(ctx, i.Name, metav1.GetOptions{})
	} else {
		_, err = m.Get(ctx, i.Name, metav1.GetOptions{})
	}
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	return false, err
}
