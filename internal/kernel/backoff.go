package kernel

import (
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// backoff is the exponential delay of the queue. An attempt may take several passes with jobs
// between them, so a pass without an error is no success yet: only a verdict forgets failures.
type backoff struct {
	workqueue.TypedRateLimiter[reconcile.Request]
}

func newBackoff(least, most time.Duration) *backoff {
	return &backoff{workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](least, most)}
}

// Forget is what the queue calls after each pass without error; it does nothing.
func (b *backoff) Forget(reconcile.Request) {}

// succeeded forgets the failures of an object.
func (b *backoff) succeeded(r reconcile.Request) { b.TypedRateLimiter.Forget(r) }
