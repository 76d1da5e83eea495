package tracker

import (
	"testing"
	"time"
)

// TestPassThatFails shows that a drift that a pass could not correct is asked for again, but no
// longer at once: the server may refuse the correction for as long as it likes.
func TestPassThatFails(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.install(oneMap)
	b.del("cm")
	b.awaitNotify()
	for range 2 {
		b.owner.Begin()() // a pass that ends without a correction
		select {
		case <-b.notified:
			t.Error("notified at once although the last pass left the drift as it was")
		case <-time.After(300 * time.Millisecond):
		}
		b.awaitNotify()
	}
	if changes, _ := b.pass(oneMap, b.owner.AtRevision()); changes != "created" {
		t.Errorf("in the end: %q", changes)
	}
}
