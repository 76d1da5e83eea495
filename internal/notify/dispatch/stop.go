package dispatch

import (
	"slices"
	"time"
)

// wait reports whether there is still time to work after a pause. While the dispatcher stops, there
// is none for pauses.
func (d *Dispatcher) wait(pause time.Duration) bool {
	if pause <= 0 {
		return d.hard.Err() == nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-d.draining:
		return false
	}
}

// abandonAfter is how long an attempt has to end after it was told to.
const abandonAfter = 100 * time.Millisecond

// attempt makes one attempt. When the time is over, a delivery that does not hear of it is left behind: what has to be
// spooled does not wait for it.
func (d *Dispatcher) attempt(items []Item) error {
	done := make(chan error, 1)
	go func() { done <- d.options.Deliver(d.hard, items) }()
	select {
	case err := <-done:
		return err
	case <-d.hard.Done():
	}
	timer := time.NewTimer(abandonAfter)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return d.hard.Err()
	}
}

// Stop lets the lanes finish for at most grace and spools the rest. Items that come later join them
// if they come before it returns.
func (d *Dispatcher) Stop(grace time.Duration) error {
	close(d.draining)
	done := make(chan struct{})
	go func() { d.working.Wait(); close(done) }()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
	d.mu.Lock()
	d.stopped = true
	for _, l := range d.lines {
		for i := range l.lanes {
			d.rest = append(d.rest, l.lanes[i].items...)
			l.lanes[i].items = nil
		}
	}
	d.mu.Unlock()
	d.cancel()
	d.working.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.rest) == 0 || d.options.Spool == nil {
		return nil
	}
	slices.SortStableFunc(d.rest, func(a, b Item) int { return a.Received.Compare(b.Received) })
	return d.options.Spool.Write(d.rest)
}
