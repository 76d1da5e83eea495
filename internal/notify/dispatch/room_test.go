package dispatch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// large is an item whose annotations make it so.
func large(provider, object, message string, size int) Item {
	i := item(provider, object, message)
	i.Event.Metadata = map[string]string{event.AnnotationPrefix + "notes": strings.Repeat("x", size)}
	return i
}

// Events of any size take a bounded memory: the oldest of the provider go, those of others stay.
func TestLargeEventsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		w := &world{answer: func(context.Context, Item, int) error { <-open; return nil }}
		o := w.options("")
		o.LineBytes = 10 << 20
		d := start(t, w, o)
		d.Enqueue(item("small", "app", "s0"))
		for i := range 100 {
			d.Enqueue(large("flooded", fmt.Sprint("app", i), fmt.Sprint(i), 256<<10))
			synctest.Wait()
		}
		d.Enqueue(item("small", "app", "s1"))
		if d.bytes > 12<<20 {
			t.Errorf("%d bytes are held", d.bytes)
		}
		close(open)
		d.working.Wait()
		if n := len(w.delivered); n < 36 || n > 46 || n+len(w.failed) != 102 {
			t.Errorf("%d delivered, %d dropped", n, len(w.failed))
		}
		for _, want := range []string{"s0", "s1", "0", "99"} {
			if !slices.Contains(w.delivered, want) {
				t.Errorf("%s was not delivered", want)
			}
		}
		for _, line := range w.failed {
			if !strings.HasSuffix(line, ErrOverflow.Error()) {
				t.Error(line)
			}
		}
		if d.bytes != 0 || len(d.lines) != 0 {
			t.Errorf("%d bytes and %d lines are left", d.bytes, len(d.lines))
		}
	})
}

// Many providers together have a bound too; who has little is not made to pay for it.
func TestAllEventsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		w := &world{answer: func(context.Context, Item, int) error { <-open; return nil }}
		o := w.options("")
		o.LineBytes, o.Bytes = 4<<20, 20<<20
		d := start(t, w, o)
		for i := range 400 {
			d.Enqueue(large(fmt.Sprint("flooded", i%40), "app", fmt.Sprint(i), 256<<10))
			synctest.Wait()
		}
		for i := range 10 {
			d.Enqueue(item("small", "app", fmt.Sprint("s", i)))
			synctest.Wait()
		}
		if d.bytes > 21<<20 {
			t.Errorf("%d bytes are held", d.bytes)
		}
		if l := d.lines[types.NamespacedName{Namespace: "ns", Name: "small"}]; l == nil || len(l.lanes) == 0 {
			t.Error("the small provider has no line")
		}
		close(open)
		d.working.Wait()
		for i := range 10 {
			if !slices.Contains(w.delivered, fmt.Sprint("s", i)) {
				t.Errorf("s%d was not delivered", i)
			}
		}
		if n := len(w.delivered); n < 70 || n+len(w.failed) != 410 {
			t.Errorf("%d delivered, %d dropped", n, len(w.failed))
		}
		if d.bytes != 0 || len(d.lines) != 0 {
			t.Errorf("%d bytes and %d lines are left", d.bytes, len(d.lines))
		}
	})
}
