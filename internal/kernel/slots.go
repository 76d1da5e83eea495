package kernel

import (
	"context"
	"sync"
	"time"
)

const (
	// stuckAfter is how long a job may hold a slot before it counts as one that waits for
	// somebody else, such as a Git host that does not answer.
	stuckAfter = 2 * time.Second
	// spareFactor times the number of slots is how many such jobs may run beside the others.
	spareFactor = 8
)

// slots is a semaphore for jobs of different lanes, such as namespaces. It keeps one lane from
// stopping the others: a job that holds its slot for long gives it to the next in line and runs
// on beside the bounded ones; and a lane that holds half of the slots stands back while others
// wait. Otherwise urgent jobs come first, then those whose lane runs least, then the oldest.
type slots struct {
	size     int
	patience time.Duration

	mu      sync.Mutex
	free    int
	spare   int
	running map[string]int
	stuck   map[string]int
	waiting []*slot
}

// slot is held by a job, or waited for.
type slot struct {
	lane   string
	urgent bool
	turn   chan struct{}
	timer  *time.Timer
	// lent says that the slot was given to another job while this one still runs.
	lent, ended bool
}

func newSlots(n int) *slots {
	n = max(n, 1)
	return &slots{
		size: n, patience: stuckAfter, free: n, spare: spareFactor * n,
		running: map[string]int{}, stuck: map[string]int{},
	}
}

func (s *slots) acquire(ctx context.Context, lane string, urgent bool) (*slot, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	mine := &slot{lane: lane, urgent: urgent, turn: make(chan struct{})}
	s.mu.Lock()
	s.waiting = append(s.waiting, mine)
	s.next()
	s.mu.Unlock()
	select {
	case <-mine.turn:
		return mine, nil
	case <-ctx.Done():
		s.abandon(mine)
		return nil, context.Cause(ctx)
	}
}

// abandon takes a waiter out of the line; if its turn came meanwhile the slot goes on.
func (s *slots) abandon(mine *slot) {
	s.mu.Lock()
	for i, w := range s.waiting {
		if w == mine {
			s.waiting = append(s.waiting[:i:i], s.waiting[i+1:]...)
			s.mu.Unlock()
			return
		}
	}
	s.mu.Unlock()
	s.release(mine)
}

func (s *slots) release(mine *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mine.timer.Stop()
	mine.ended = true
	if s.running[mine.lane]--; s.running[mine.lane] == 0 {
		delete(s.running, mine.lane)
	}
	if mine.lent {
		s.spare++
		if s.stuck[mine.lane]--; s.stuck[mine.lane] == 0 {
			delete(s.stuck, mine.lane)
		}
		return
	}
	s.free++
	s.next()
}

// lend gives the slot of a job that takes long to another. No lane may use more than half of
// what there is to spare.
func (s *slots) lend(mine *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if mine.ended || s.spare == 0 || s.stuck[mine.lane] >= spareFactor*s.size/2 {
		return
	}
	mine.lent = true
	s.stuck[mine.lane]++
	s.spare--
	s.free++
	s.next()
}

// next hands out free slots. The caller holds mu.
func (s *slots) next() {
	for s.free > 0 && len(s.waiting) > 0 {
		best := 0
		for i, w := range s.waiting {
			if s.before(w, s.waiting[best]) {
				best = i
			}
		}
		w := s.waiting[best]
		s.waiting = append(s.waiting[:best:best], s.waiting[best+1:]...)
		s.free--
		s.running[w.lane]++
		w.timer = time.AfterFunc(s.patience, func() { s.lend(w) })
		close(w.turn)
	}
}

// before tells whether a is to run before b, which has waited longer.
func (s *slots) before(a, b *slot) bool {
	if x, y := s.greedy(a.lane), s.greedy(b.lane); x != y {
		return y
	}
	if a.urgent != b.urgent {
		return a.urgent
	}
	return s.running[a.lane] < s.running[b.lane]
}

func (s *slots) greedy(lane string) bool { return 2*s.running[lane] >= max(s.size, 2) }
