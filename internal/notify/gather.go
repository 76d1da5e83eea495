package notify

import (
	"context"
	"time"

	"github.com/go-logr/logr"

	"github.com/gitops-toolkit/flux/internal/notify/alert"
	"github.com/gitops-toolkit/flux/internal/notify/dispatch"
	"github.com/gitops-toolkit/flux/internal/notify/providers"
)

// recallTime is how long an event waits at a start for the memory.
const recallTime = 5 * time.Second

// rememberEvery is how often the memory is written while it changes.
const rememberEvery = 10 * time.Second

// gatherer sends what had to wait: failures that have lasted long enough, and digests.
type gatherer struct {
	digests *digests
	memory  *memory
	// known is closed when the memory was read.
	known chan struct{}
	// fire sends a failure to the Provider of the Alert that it names.
	fire func(ctx context.Context, f alert.Failure)
	put  func(dispatch.Item)
	// prune forgets what Alerts and Providers have told that are gone.
	prune func(ctx context.Context)
	// recoveries finds objects that work again without an event.
	recoveries *recoveries
	wake       chan struct{}
	log        logr.Logger
}

func newGatherer(r *router, mails *providers.Mails, kept *keeper) *gatherer {
	wake := make(chan struct{}, 1)
	g := &gatherer{
		memory: &memory{kept: kept, Transitions: &alert.Transitions{}, Mails: mails},
		fire:   r.fire, put: r.outbox.put, prune: r.pruneMemory, wake: wake, log: r.log,
		known: make(chan struct{}),
	}
	g.digests = newDigests(wake, g.early)
	g.recoveries = newRecoveries(r.m, wake, r.resolve, r.log)
	return g
}

// early tells of a digest that does not get its whole window.
func (g *gatherer) early(d digest) {
	g.log.Info("too much waits for digests: one is sent before its time", "alert", d.alert.Namespace+"/"+d.alert.Name, "events", len(d.items))
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run works until ctx ends; then it sends all digests at once.
func (g *gatherer) run(ctx context.Context) error {
	defer g.recoveries.stop()
	if err := g.memory.read(); err != nil {
		g.log.Error(err, "failures that people know of may be told once more")
	}
	close(g.known)
	written := time.Now()
	for {
		next := g.due(ctx)
		if remember := written.Add(rememberEvery); next.IsZero() || remember.Before(next) {
			next = remember
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			g.stop()
			return nil
		case <-g.wake:
		case <-timer.C:
		}
		timer.Stop()
		if time.Since(written) >= rememberEvery {
			written = time.Now()
			g.prune(ctx)
			g.remember()
		}
	}
}

// recall returns when it is known which failures an earlier process has told, or when it takes too long: an event that is
// looked at before would be told once more.
func (g *gatherer) recall() {
	select {
	case <-g.known:
	case <-time.After(recallTime):
	}
}

// remember writes what is new in the memory.
func (g *gatherer) remember() {
	if err := g.memory.write(); err != nil {
		g.log.Error(err, "after a restart some failures may be told once more")
	}
}

func (g *gatherer) due(ctx context.Context) time.Time {
	now := time.Now()
	failures, next := g.memory.Transitions.TakeDue(now)
	for _, f := range failures {
		g.fire(ctx, f)
	}
	items, then := g.digests.takeDue(now)
	for _, item := range items {
		g.put(item)
	}
	failing := append(g.memory.Transitions.Failing(), g.memory.Mails.Failing()...)
	return earliest(next, earliest(then, g.recoveries.look(ctx, failing, now)))
}

// earliest is the earlier of two times, of which zero is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (g *gatherer) stop() {
	items, _ := g.digests.takeDue(time.Now().Add(365 * 24 * time.Hour))
	for _, item := range items {
		g.put(item)
	}
	g.memory.kept.close()
}
