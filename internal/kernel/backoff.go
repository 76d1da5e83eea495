package kernel

import (
	"sync"
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

	mu sync.Mutex
	// floor is what the next delay of an object is not to be below, such as the pause that a server asked for.
	floor map[reconcile.Request]time.Duration
}

func newBackoff(least, most time.Duration, schedule func(reconcile.Request) time.Duration) *backoff {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](least, most)
	return &backoff{TypedRateLimiter: limiter, least: least, schedule: schedule, floor: map[reconcile.Request]time.Duration{}}
}

// When is how long the object waits for its next attempt.
func (b *backoff) When(r reconcile.Request) time.Duration {
	delay := b.TypedRateLimiter.When(r)
	if limit := b.schedule(r); limit > 0 && delay > limit {
		delay = max(limit, b.least)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delay = max(delay, b.floor[r])
	delete(b.floor, r)
	return delay
}

// atLeast holds the next delay of an object up.
func (b *backoff) atLeast(r reconcile.Request, delay time.Duration) {
	if delay <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.floor[r] = delay
}

// Forget is what the queue calls after each pass without error; it does nothing.
func (b *backoff) Forget(reconcile.Request) {}

// succeeded forgets the failures of an object.
func (b *backoff) succeeded(r reconcile.Request) { b.TypedRateLimiter.Forget(r) }
