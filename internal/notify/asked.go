package notify

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/notify/push"
)

// asked remembers for a while which pushes objects were told of, so that a push which comes through
// several Receivers is one reconciliation.
type asked struct {
	mu    sync.Mutex
	told  map[string]*telling
	swept time.Time
}

// telling is that an object was told of a push, and the Receivers through which it came.
type telling struct {
	until time.Time
	by    map[types.UID]bool
}

// askedFor is how long calls about one push may be apart.
const askedFor = 10 * time.Second

// first tells whether an object hears of a push for the first time. Services that name neither commit nor
// digest call each Receiver once for a push: there, a second call through the same Receiver is another push.
// Calls that do not say what was pushed are each for themselves.
func (a *asked) first(object string, p *push.Push, receiver types.UID) bool {
	identity := p.Identity()
	if identity == "" {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.sweep(now)
	key := object + " " + identity
	if t := a.told[key]; t != nil && now.Before(t.until) && (p.Certain() || !t.by[receiver]) {
		t.by[receiver] = true
		return false
	}
	if a.told == nil {
		a.told = map[string]*telling{}
	}
	a.told[key] = &telling{until: now.Add(askedFor), by: map[types.UID]bool{receiver: true}}
	return true
}

// sweep forgets what is over, once a second.
func (a *asked) sweep(now time.Time) {
	if now.Sub(a.swept) < time.Second {
		return
	}
	a.swept = now
	for key, t := range a.told {
		if now.After(t.until) {
			delete(a.told, key)
		}
	}
}

// again lets the next call about a push tell the object, because this one could not.
func (a *asked) again(object string, p *push.Push) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.told, object+" "+p.Identity())
}

// settleFor is how long an object that follows several references waits for calls about the other references of
// a push: hosts send one for each, and nothing in them says that they belong together.
const settleFor = 500 * time.Millisecond

// settling makes one request of all those for an object that come within a moment, after the last of them has come.
type settling struct {
	wait time.Duration
	// busy bounds the requests at a time.
	busy chan struct{}
	mu   sync.Mutex
	open map[string]*round
}

type round struct {
	done chan struct{}
	err  error
}

func newSettling(wait time.Duration) *settling {
	return &settling{wait: wait, busy: make(chan struct{}, 16), open: map[string]*round{}}
}

// do waits for the end of the object's round, which calls f, and returns its error.
func (s *settling) do(ctx context.Context, object string, f func(context.Context) error) error {
	s.mu.Lock()
	r := s.open[object]
	if r == nil {
		r = &round{done: make(chan struct{})}
		s.open[object] = r
		// A caller that goes away does not take the request of the others with it.
		time.AfterFunc(s.wait, func() { s.end(context.WithoutCancel(ctx), object, r, f) })
	}
	s.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// askTimeout bounds a request that nobody may wait for any more.
const askTimeout = 30 * time.Second

func (s *settling) end(ctx context.Context, object string, r *round, f func(context.Context) error) {
	s.busy <- struct{}{}
	defer func() { <-s.busy }()
	s.mu.Lock()
	delete(s.open, object) // what comes from now on may be news to the request
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r.err = f(ctx)
	close(r.done)
}
