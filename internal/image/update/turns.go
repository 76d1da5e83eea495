package update

import (
	"context"
	"sync"
)

// turns lets those take turns who push to the same branch: they would only be too late for each other.
type turns struct {
	mu      sync.Mutex
	holders map[string]*turn
}

// turn is one branch. The channel has room for one.
type turn struct {
	slot  chan struct{}
	users int
}

func newTurns() *turns { return &turns{holders: map[string]*turn{}} }

// take waits for the branch. waited says that somebody else had it meanwhile.
func (t *turns) take(ctx context.Context, branch string) (release func(), waited bool, err error) {
	t.mu.Lock()
	h := t.holders[branch]
	if h == nil {
		h = &turn{slot: make(chan struct{}, 1)}
		t.holders[branch] = h
	}
	h.users++
	waited = h.users > 1
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if h.users--; h.users == 0 {
			delete(t.holders, branch)
		}
	}
	select {
	case h.slot <- struct{}{}:
		return func() { <-h.slot; leave() }, waited, nil
	case <-ctx.Done():
		leave()
		return nil, waited, ctx.Err()
	}
}
