package dispatch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// passing is an error that another attempt may heal.
type passing struct{ after time.Duration }

func (passing) Error() string                  { return "503" }
func (p passing) Retry() (time.Duration, bool) { return p.after, true }

// world records deliveries and failures.
type world struct {
	mu        sync.Mutex
	delivered []string
	failed    []string
	answer    func(ctx context.Context, item Item, attempt int) error
	attempts  map[string]int
}

func (w *world) options(spool string) Options {
	w.attempts = map[string]int{}
	o := Options{Deliver: w.deliver, Failed: w.fail}
	if spool != "" {
		o.Spool = FileSpool(spool)
	}
	return o
}

func (w *world) deliver(ctx context.Context, items []Item) error {
	for _, item := range items[1:] {
		items[0].Event.Message += "+" + item.Event.Message
	}
	item := items[0]
	w.mu.Lock()
	w.attempts[item.Event.Message]++
	n := w.attempts[item.Event.Message]
	w.mu.Unlock()
	if w.answer != nil {
		if err := w.answer(ctx, item, n); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delivered = append(w.delivered, item.Event.Message)
	return nil
}

func (w *world) fail(item Item, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = append(w.failed, item.Event.Message+": "+err.Error())
}

func item(provider, object, message string) Item {
	return Item{
		Provider: types.NamespacedName{Namespace: "ns", Name: provider}, Type: "generic", Received: time.Now(),
		Event: &event.Event{InvolvedObject: corev1.ObjectReference{Kind: "Kustomization", Namespace: "ns", Name: object}, Message: message},
	}
}

func start(t *testing.T, w *world, o Options) *Dispatcher {
	t.Helper()
	d, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestOneProviderDoesNotDelayAnother(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{answer: func(ctx context.Context, i Item, _ int) error {
			if i.Provider.Name == "hangs" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}}
		d := start(t, w, w.options(""))
		for i := range 1000 {
			d.Enqueue(item("hangs", fmt.Sprint("app", i), fmt.Sprint("h", i)))
			d.Enqueue(item("works", fmt.Sprint("app", i%7), fmt.Sprint("w", i)))
			synctest.Wait()
		}
		if len(w.delivered) != 1000 {
			t.Errorf("%d of 1000 delivered while the other hangs", len(w.delivered))
		}
		if err := d.Stop(time.Second); err != nil {
			t.Error(err)
		}
	})
}

func TestOrderOfOneObject(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{answer: func(_ context.Context, i Item, attempt int) error {
			if i.Event.Message == "1" && attempt < 3 {
				return passing{}
			}
			return nil
		}}
		d := start(t, w, w.options(""))
		for i := range 5 {
			d.Enqueue(item("p", "app", fmt.Sprint(i)))
		}
		time.Sleep(7 * time.Second) // the bubble's clock: 2 s and 4 s of back-off
		synctest.Wait()
		if got := fmt.Sprint(w.delivered); got != "[0 1 2 3 4]" {
			t.Errorf("delivered %s", got)
		}
		_ = d.Stop(0)
	})
}

func TestRetries(t *testing.T) {
	t.Parallel()
	tests := []struct {
		reason   string
		answer   func(attempt int) error
		attempts int
		failed   bool
		took     time.Duration
	}{
		{"success at once", func(int) error { return nil }, 1, false, 0},
		{"an error that stays is not repeated", func(int) error { return errors.New("400") }, 1, true, 0},
		{"one that may pass is, with back-off", func(int) error { return passing{} }, 5, true, 30 * time.Second},
		{"the provider says when", func(n int) error {
			if n == 1 {
				return passing{after: time.Minute}
			}
			return nil
		}, 2, false, time.Minute},
		{"but not for ever", func(n int) error {
			if n == 1 {
				return passing{after: 48 * time.Hour}
			}
			return nil
		}, 2, false, 5 * time.Minute},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			w := &world{}
			w.answer = func(_ context.Context, _ Item, n int) error { return tt.answer(n) }
			d := start(t, w, w.options(""))
			d.Enqueue(item("p", "app", "m"))
			d.working.Wait()
			if w.attempts["m"] != tt.attempts || (len(w.failed) > 0) != tt.failed || time.Since(began) != tt.took {
				t.Errorf("%s: %d attempts, failed %v, took %s", tt.reason, w.attempts["m"], w.failed, time.Since(began))
			}
		})
	}
}

func TestFailingProviderGetsOneAttemptEach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down := true
		w := &world{answer: func(context.Context, Item, int) error {
			if down {
				return passing{}
			}
			return nil
		}}
		d := start(t, w, w.options(""))
		for i := range 4 {
			d.Enqueue(item("p", "app", fmt.Sprint(i)))
		}
		d.working.Wait()
		if fmt.Sprint(w.attempts) != "map[0:5 1:1 2:1 3:1]" {
			t.Errorf("attempts %v", w.attempts)
		}
		down = false
		d.Enqueue(item("p", "app", "4"))
		d.working.Wait()
		if len(w.delivered) != 1 || d.lines[types.NamespacedName{Namespace: "ns", Name: "p"}] != nil {
			t.Errorf("delivered %v, lines %v", w.delivered, d.lines)
		}
	})
}

// What must arrive is repeated until the provider is back, in order, and its owner hears of it meanwhile.
func TestPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		back := time.Now().Add(20 * time.Minute)
		w := &world{answer: func(context.Context, Item, int) error {
			if time.Now().Before(back) {
				return passing{}
			}
			return nil
		}}
		o := w.options("")
		o.Patient = func(i Item) bool { return i.Provider.Name == "status" }
		d := start(t, w, o)
		for i := range 3 {
			d.Enqueue(item("status", "app", fmt.Sprint(i)))
		}
		d.Enqueue(item("chat", "app", "news"))
		d.working.Wait()
		slices.Sort(w.failed)
		if got := fmt.Sprint(w.delivered, w.failed); got != "[0 1 2] [0: 503; further attempts follow news: 503]" {
			t.Errorf("delivered and failed: %s", got)
		}
		if late := time.Since(back); late < 0 || late > 30*time.Second {
			t.Errorf("delivered %s after the provider came back", late)
		}
		w.failed, back = nil, time.Now().Add(48*time.Hour)
		began := time.Now()
		d.Enqueue(item("status", "app", "3"))
		d.working.Wait()
		if got, took := fmt.Sprint(w.failed), time.Since(began); got != "[3: 503; further attempts follow 3: 503]" || took > time.Hour {
			t.Errorf("after %s: %s", took, got)
		}
	})
}

func TestFloodIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		w := &world{answer: func(context.Context, Item, int) error { <-open; return nil }}
		o := w.options("")
		o.Lanes = 1
		d := start(t, w, o)
		for i := range 10_000 {
			d.Enqueue(item("p", "app", fmt.Sprint(i)))
			if i == 0 {
				synctest.Wait()
			}
		}
		if n := len(w.failed); n != 10_000-250-1 || w.failed[0] != "1: "+ErrOverflow.Error() {
			t.Errorf("%d events dropped, the first %q", n, w.failed[0])
		}
		close(open)
		d.working.Wait()
		if len(w.delivered) != 251 || w.delivered[250] != "9999" {
			t.Errorf("%d delivered, the last %s", len(w.delivered), w.delivered[len(w.delivered)-1])
		}
	})
}

func TestOldNewsExpires(t *testing.T) {
	t.Parallel()
	w := &world{}
	d := start(t, w, w.options(""))
	old := item("p", "app", "old")
	old.Received = time.Now().Add(-2 * time.Hour)
	d.Enqueue(old)
	d.working.Wait()
	if len(w.failed) != 1 || len(w.delivered) != 0 {
		t.Errorf("failed %v, delivered %v", w.failed, w.delivered)
	}
}

func TestStopDrainsAndSpools(t *testing.T) {
	t.Parallel()
	spool := filepath.Join(t.TempDir(), "spool", "events")
	w := &world{answer: func(ctx context.Context, i Item, _ int) error {
		switch i.Provider.Name {
		case "hangs":
			<-ctx.Done()
			return ctx.Err()
		case "fails":
			return passing{}
		}
		return nil
	}}
	d := start(t, w, w.options(spool))
	for i := range 10 {
		d.Enqueue(item("works", "app", fmt.Sprint("w", i)))
		d.Enqueue(item("hangs", "app", fmt.Sprint("h", i)))
		d.Enqueue(item("fails", "app", fmt.Sprint("f", i)))
	}
	if err := d.Stop(50 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if len(w.delivered) != 10 {
		t.Errorf("delivered before the end: %v", w.delivered)
	}
	info, err := os.Stat(spool)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("spool %v %v", info, err)
	}
	again := &world{}
	d = start(t, again, again.options(spool))
	d.working.Wait()
	slices.Sort(again.delivered)
	if len(again.delivered) != 20 || again.delivered[0] != "f0" || again.delivered[19] != "h9" {
		t.Errorf("delivered after the start: %v", again.delivered)
	}
	if _, err := os.Stat(spool); !os.IsNotExist(err) {
		t.Errorf("the spool is still there: %v", err)
	}
}

func TestSpoolThatIsBroken(t *testing.T) {
	t.Parallel()
	spool := filepath.Join(t.TempDir(), "events")
	if err := os.WriteFile(spool, []byte("{\nnull\n{\"provider\":{}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := &world{}
	start(t, w, w.options(spool)).working.Wait()
	if len(w.delivered)+len(w.failed) != 0 {
		t.Errorf("delivered %v, failed %v", w.delivered, w.failed)
	}
}

func TestGroupsAreGathered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		o := w.options("")
		o.Group = func(i Item) (string, time.Duration) { return i.Alert.Name, 15 * time.Second }
		d := start(t, w, o)
		add := func(alert, object, message string) {
			i := item("p", object, message)
			i.Alert.Name = alert
			d.Enqueue(i)
		}
		add("red", "a", "1")
		add("blue", "a", "2")
		time.Sleep(10 * time.Second)
		add("red", "b", "3")
		time.Sleep(6 * time.Second)
		add("red", "c", "4")
		d.working.Wait()
		slices.Sort(w.delivered)
		if got := fmt.Sprint(w.delivered); got != "[1+3 2 4]" {
			t.Errorf("delivered %s", got)
		}
		add("red", "d", "5")
		synctest.Wait()
		if err := d.Stop(time.Minute); err != nil || len(w.delivered) != 4 {
			t.Errorf("a stop waits for no window: %v %v", w.delivered, err)
		}
	})
}

// The end of a failure does not overtake the failure, which the provider does not take yet.
func TestGroupsOfAnAlertKeepTheirOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{answer: func(_ context.Context, i Item, attempt int) error {
			if i.Event.Severity == "error" && attempt < 4 {
				return passing{}
			}
			return nil
		}}
		o := w.options("")
		o.Patient = func(Item) bool { return true }
		o.Group = func(i Item) (string, time.Duration) { return i.Alert.Name + i.Event.Severity, 15 * time.Second }
		d := start(t, w, o)
		for _, severity := range []string{"error", "info"} {
			i := item("relay", "app", severity)
			i.Alert.Name, i.Event.Severity = "all", severity
			d.Enqueue(i)
			time.Sleep(16 * time.Second)
		}
		d.working.Wait()
		if got := fmt.Sprint(w.delivered, w.failed); got != "[error info] []" {
			t.Errorf("delivered and failed %s", got)
		}
	})
}
