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
// on beside the bounded ones; a lane with such jobs starts no more than half of what is to spare
// can take, so that none of them is left holding a slot; and a lane that holds half of the slots
// stands back while others wait. Otherwise urgent jobs come first, then those whose lane runs least, then the oldest.
type slots struct {
	size     int
	patience time.Duration

	mu      sync.Mutex
	free    int
	spare   int
	running map[string]int
	stuck   map[string]int
	waiting []*slot
	overdue []*slot // took long when there was nothing to spare
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
	} else {
		s.free++
	}
	overdue := s.overdue
	s.overdue = nil
	for _, w := range overdue {
		s.give(w)
	}
	s.next()
}

// lend gives the slot of a job that takes long to another.
func (s *slots) lend(mine *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.give(mine)
}

// give is lend for a caller who holds mu.
func (s *slots) give(mine *slot) {
	if mine.ended || mine.lent {
		return
	}
	if s.spare == 0 {
		s.overdue = append(s.overdue, mine)
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
	for s.free > 0 {
		best := -1
		for i, w := range s.waiting {
			if s.mayStart(w.lane) && (best < 0 || s.before(w, s.waiting[best])) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		w := s.waiting[best]
		s.waiting = append(s.waiting[:best:best], s.waiting[best+1:]...)
		s.free--
		s.running[w.lane]++
		w.timer = time.AfterFunc(s.patience, func() { s.lend(w) })
		close(w.turn)
	}
}

// mayStart holds back a lane whose jobs take long. Each further lane of that kind gets half of what is left.
func (s *slots) mayStart(lane string) bool {
	stuck := s.stuck[lane]
	return stuck == 0 || s.running[lane] < max(1, (s.spare+stuck)/2)
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
