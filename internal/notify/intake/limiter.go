package intake

import (
	"sync"
	"time"
)

// sweepEvery is how often a Limiter forgets at most.
const sweepEvery = time.Minute

// maxKeys bounds the memory of a Limiter: about 150 bytes a key.
const maxKeys = 1 << 17

// Limiter lets each key pass once in an interval. Intervals of a key begin when it is first seen.
type Limiter struct {
	interval time.Duration
	now      func() time.Time

	mu    sync.Mutex
	seen  map[string]*window
	swept time.Time
}

// window is where a key's present interval began.
type window struct{ begin time.Time }

// NewLimiter returns a limiter. An interval of zero lets everything pass.
func NewLimiter(interval time.Duration) *Limiter {
	return &Limiter{interval: interval, now: time.Now, seen: map[string]*window{}}
}

// Take tells whether a key may pass now, and when the next one of it may.
func (l *Limiter) Take(key string) (ok bool, reset time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if l.interval <= 0 {
		return true, now
	}
	l.sweep(now)
	w := l.seen[key]
	if w == nil {
		l.makeRoom()
		l.seen[key] = &window{begin: now}
		return true, now.Add(l.interval)
	}
	if passed := now.Sub(w.begin) / l.interval; passed > 0 {
		w.begin = w.begin.Add(passed * l.interval)
		return true, w.begin.Add(l.interval)
	}
	return false, w.begin.Add(l.interval)
}

// Forget lets a key pass again: what took it was not done.
func (l *Limiter) Forget(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.seen, key)
}

// sweep forgets keys that were not seen for two intervals.
func (l *Limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < max(l.interval, sweepEvery) {
		return
	}
	l.swept = now
	for key, w := range l.seen {
		if now.Sub(w.begin) >= 2*l.interval {
			delete(l.seen, key)
		}
	}
}

// makeRoom forgets some key when there are too many: a repetition that passes is better than memory
// that never ends.
func (l *Limiter) makeRoom() {
	if len(l.seen) < maxKeys {
		return
	}
	for key := range l.seen {
		delete(l.seen, key)
		return
	}
}
