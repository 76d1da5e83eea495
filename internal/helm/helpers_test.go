package helm_test

import (
	"testing"
	"time"
)

// settle waits until the controller has been silent for a while, intervals of a second included.
func settle(t *testing.T, l *lab) {
	t.Helper()
	last, since := -1, time.Now()
	for begun := time.Now(); time.Since(begun) < patience; time.Sleep(100 * time.Millisecond) {
		l.mu.Lock()
		n := len(l.seen)
		l.mu.Unlock()
		if n != last {
			last, since = n, time.Now()
		}
		if time.Since(since) > 3*time.Second {
			return
		}
	}
	t.Fatal("the controller does not come to rest")
}
