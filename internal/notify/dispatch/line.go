package dispatch

import "time"

const (
	// failingFor is how long a provider counts as failing after an event was given up, or after the pause that it
	// asked for then.
	failingFor = time.Minute
	// sweepEvery is how often lines are looked through for those that are not needed any more.
	sweepEvery = time.Minute
)

// idle tells whether a line has neither work nor anything to remember.
func (l *line) idle(now time.Time) bool {
	if now.Before(l.failingUntil) || now.Before(l.notBefore) {
		return false
	}
	for i := range l.lanes {
		if l.lanes[i].running || len(l.lanes[i].items) > 0 {
			return false
		}
	}
	return true
}

// sweep forgets lines that had something to remember when their work ended: their providers may be gone.
func (d *Dispatcher) sweep() {
	now := time.Now()
	if now.Sub(d.swept) < sweepEvery {
		return
	}
	d.swept = now
	for provider, l := range d.lines {
		if l.idle(now) {
			delete(d.lines, provider)
		}
	}
}
