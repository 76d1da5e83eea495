package kernel

import (
	"context"
	"slices"
	"testing"
	"time"
)

// line lets jobs stand in line behind the slots that are held, in this order, and returns the
// order in which they get their turn when one slot is released.
func line(t *testing.T, s *slots, held *slot, jobs ...*slot) []string {
	t.Helper()
	order := make(chan string, len(jobs))
	for i, job := range jobs {
		go func() {
			got, err := s.acquire(t.Context(), job.lane, job.urgent)
			if err == nil {
				order <- job.lane
				s.release(got)
			}
		}()
		for waiting := 0; waiting <= i; time.Sleep(time.Millisecond) { // until it stands in line
			s.mu.Lock()
			waiting = len(s.waiting)
			s.mu.Unlock()
		}
	}
	s.release(held)
	var out []string
	for range jobs {
		out = append(out, <-order)
	}
	return out
}

func take(t *testing.T, s *slots, lane string) *slot {
	t.Helper()
	got, err := s.acquire(t.Context(), lane, false)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestOrderOfTheLine(t *testing.T) {
	t.Parallel()
	tests := []struct {
		reason string
		held   []string
		jobs   []*slot
		want   []string
	}{
		{"first come, first served", []string{"a"}, []*slot{{lane: "b"}, {lane: "c"}}, []string{"b", "c"}},
		{"what is urgent overtakes", []string{"a"}, []*slot{{lane: "b"}, {lane: "c", urgent: true}}, []string{"c", "b"}},
		{"the lane that runs less overtakes", []string{"x", "a", "y", "z", "v", "w"}, []*slot{{lane: "a"}, {lane: "b"}}, []string{"b", "a"}},
		{"a lane with half of the slots stands back, urgent or not", []string{"x", "a", "a", "z"}, []*slot{{lane: "a", urgent: true}, {lane: "b"}}, []string{"b", "a"}},
	}
	for _, tt := range tests {
		s := newSlots(len(tt.held))
		s.patience = time.Hour
		var held []*slot
		for _, lane := range tt.held {
			held = append(held, take(t, s, lane))
		}
		if got := line(t, s, held[0], tt.jobs...); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.reason, got, tt.want)
		}
	}
}

func TestAbandonedTurnIsNotLost(t *testing.T) {
	t.Parallel()
	s := newSlots(1)
	for range 200 {
		held := take(t, s, "a")
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan struct{})
		go func() {
			defer close(left)
			if got, err := s.acquire(ctx, "a", false); err == nil {
				s.release(got)
			}
		}()
		go cancel()
		s.release(held)
		<-left
	}
	if s.free != 1 || len(s.waiting) != 0 || len(s.running) != 0 {
		t.Errorf("%d free, %d waiting, %v running", s.free, len(s.waiting), s.running)
	}
}

// Jobs that wait for a host that does not answer must not keep others from running.
func TestStuckJobsDoNotStopOthers(t *testing.T) {
	t.Parallel()
	const n = 4
	s := newSlots(n)
	s.patience = time.Millisecond
	stuck := make(chan *slot, 10*spareFactor*n)
	ctx, cancel := context.WithCancel(t.Context())
	for range cap(stuck) {
		go func() {
			if got, err := s.acquire(ctx, "hostile", true); err == nil {
				stuck <- got
			}
		}()
	}
	for range spareFactor * n / 2 { // They have all that they get.
		held := <-stuck
		defer s.release(held)
	}
	for lent := 0; lent < spareFactor*n/2; time.Sleep(time.Millisecond) { // And none holds a slot any more.
		s.mu.Lock()
		lent = s.stuck["hostile"]
		s.mu.Unlock()
	}
	for range 3 {
		s.release(take(t, s, "healthy"))
	}
	s.mu.Lock()
	lent, spare := s.stuck["hostile"], s.spare
	s.mu.Unlock()
	if lent > spareFactor*n/2 || spare < spareFactor*n/2 {
		t.Errorf("one lane uses %d of what is to spare, %d are left", lent, spare)
	}
	cancel()
}

// TestManyStuckLanes leaves something to the next lane, however many hosts do not answer, and takes all back.
func TestManyStuckLanes(t *testing.T) {
	t.Parallel()
	const n = 4
	s := newSlots(n)
	s.patience = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	jobs := 0
	for _, lane := range []string{"one", "two", "three"} {
		for range 40 {
			jobs++
			go func() {
				if got, err := s.acquire(ctx, lane, false); err == nil {
					<-ctx.Done()
					s.release(got)
				}
				ended <- struct{}{}
			}()
		}
	}
	for range 20 {
		s.release(take(t, s, "healthy"))
	}
	cancel()
	for range jobs {
		<-ended
	}
	if s.mu.Lock(); s.free != n || s.spare != spareFactor*n || len(s.running) != 0 || len(s.stuck) != 0 {
		t.Errorf("%d free, %d to spare, %v running, %v stuck", s.free, s.spare, s.running, s.stuck)
	}
	s.mu.Unlock()
}
