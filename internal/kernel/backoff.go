package kernel

import (
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// backoff is the exponential delay of the queue. An attempt may take several passes with jobs
// between them, so a pass without an error is no success yet: only a verdict forgets failures.
// No object waits longer than its schedule, else what was mended in the meantime (a Secret, a
// branch, a host) would be seen up to a quarter of an hour later than an interval ends.
type backoff struct {
	workqueue.TypedRateLimiter[reconcile.Request]
	least time.Duration
	// schedule is how long an object may wait at most, 0 without a bound.
	schedule func(reconcile.Request) time.Duration
}

func newBackoff(least, most time.Duration, schedule func(reconcile.Request) time.Duration) *backoff {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](least, most)
	return &backoff{TypedRateLimiter: limiter, least: least, schedule: schedule}
}

// When is how long the object waits for its next attempt.
func (b *backoff) When(r reconcile.Request) time.Duration {
	delay := b.TypedRateLimiter.When(r)
	if limit := b.schedule(r); limit > 0 && delay > limit {
		return max(limit, b.least)
	}
	return delay
}

// pause is When, and no less than a server has asked for.
func (b *backoff) pause(r reconcile.Request, asked time.Duration) time.Duration {
	return max(b.When(r), asked)
}

// Forget is what the queue calls after each pass without error; it does nothing.
func (b *backoff) Forget(reconcile.Request) {}

// succeeded forgets the failures of an object.
func (b *backoff) succeeded(r reconcile.Request) { b.TypedRateLimiter.Forget(r) }
