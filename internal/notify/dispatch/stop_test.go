package dispatch

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A delivery that does not hear of the end keeps nobody from it, and its event is spooled like those behind it.
func TestStopWaitsForNoDelivery(t *testing.T) {
	t.Parallel()
	spool := filepath.Join(t.TempDir(), "events")
	synctest.Test(t, func(t *testing.T) {
		back := make(chan struct{})
		w := &world{answer: func(context.Context, Item, int) error { <-back; return nil }}
		d := start(t, w, w.options(spool))
		for i := range 3 {
			d.Enqueue(item("deaf", "app", fmt.Sprint(i)))
		}
		synctest.Wait()
		began := time.Now()
		stopped := make(chan error, 1)
		go func() { stopped <- d.Stop(4 * time.Second) }()
		select {
		case err := <-stopped:
			if took := time.Since(began); err != nil || took > 5*time.Second {
				t.Errorf("%v after %s", err, took)
			}
		case <-time.After(time.Minute):
			t.Error("a stop waits for a delivery that does not end")
		}
		close(back)
	})
	items, err := FileSpool(spool).Read()
	var got []string
	for _, i := range items {
		got = append(got, i.Event.Message)
	}
	slices.Sort(got)
	if err != nil || fmt.Sprint(got) != "[0 1 2]" {
		t.Errorf("spooled %v, %v", got, err)
	}
}

// What arrives while the time ends is not sent again.
func TestStopHearsOfTheLastDelivery(t *testing.T) {
	t.Parallel()
	spool := filepath.Join(t.TempDir(), "events")
	synctest.Test(t, func(t *testing.T) {
		w := &world{answer: func(ctx context.Context, _ Item, _ int) error { <-ctx.Done(); return nil }}
		d := start(t, w, w.options(spool))
		d.Enqueue(item("late", "app", "m"))
		synctest.Wait()
		if err := d.Stop(time.Second); err != nil || len(w.delivered) != 1 {
			t.Errorf("delivered %v, %v", w.delivered, err)
		}
	})
	if items, err := FileSpool(spool).Read(); err != nil || len(items) != 0 {
		t.Errorf("spooled %v, %v", items, err)
	}
}
