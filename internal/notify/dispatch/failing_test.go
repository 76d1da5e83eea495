package dispatch

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// An outage is forgotten after a while without events: the next one gets its attempts.
func TestOldOutageCostsNoAttempts(t *testing.T) {
	t.Parallel()
	for _, pause := range []time.Duration{0, 3 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w := &world{answer: func(_ context.Context, i Item, attempt int) error {
				if i.Event.Message == "good" && attempt == 3 {
					return nil
				}
				return passing{after: pause}
			}}
			d := start(t, w, w.options(""))
			d.Enqueue(item("p", "app", "0"))
			d.Enqueue(item("p", "app", "1"))
			d.working.Wait()
			if got := fmt.Sprint(w.attempts); got != "map[0:5 1:1]" {
				t.Errorf("attempts while the provider fails: %s", got)
			}
			time.Sleep(time.Hour) // the bubble's clock
			d.Enqueue(item("p", "app", "good"))
			d.working.Wait()
			if len(w.delivered) != 1 {
				t.Errorf("after an hour: attempts %v", w.attempts)
			}
		})
	}
}

// Nothing is kept of providers that failed once and get no events any more: they may have been deleted.
func TestLinesOfThePastAreForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{answer: func(_ context.Context, i Item, _ int) error {
			if i.Provider.Name == "works" {
				return nil
			}
			return passing{}
		}}
		d := start(t, w, w.options(""))
		for i := range 100 {
			d.Enqueue(item(fmt.Sprint("deleted", i), "app", "m"))
		}
		d.working.Wait()
		d.Enqueue(item("works", "app", "m"))
		d.working.Wait()
		if len(d.lines) != 100 {
			t.Errorf("%d lines after the outage, want 100", len(d.lines))
		}
		time.Sleep(time.Hour) // the bubble's clock
		d.Enqueue(item("works", "app", "m"))
		d.working.Wait()
		if len(d.lines) != 0 || d.lines[types.NamespacedName{Namespace: "ns", Name: "deleted1"}] != nil {
			t.Errorf("%d lines an hour later", len(d.lines))
		}
	})
}
