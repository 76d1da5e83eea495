package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
)

// TestInventoryBeforeFirstWrite shows when the union is recorded, and that nothing is written when
// that fails.
func TestInventoryBeforeFirstWrite(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	old := Inventory{{ID: "ns_old__ConfigMap", Version: "v1"}}
	b.inv = old
	refuse := errors.New("no")
	res, err := b.apply(fourObjects, func(o *Options) {
		o.BeforeFirstWrite = func(context.Context, Inventory) error { return refuse }
	})
	if !errors.Is(err, refuse) || len(res.Changes) != 0 {
		t.Fatalf("got %v, %v", err, res.Changes)
	}
	if !res.Inventory().SameIDs(old) || res.Stale() != nil {
		t.Errorf("inventory %v, stale %v", res.Inventory(), res.Stale())
	}

	var union Inventory
	b.inv = old
	res = b.mustApply(fourObjects, func(o *Options) {
		o.BeforeFirstWrite = func(_ context.Context, u Inventory) error { union = u; return nil }
	})
	if len(union) != 5 || union[4].ID != old[0].ID {
		t.Errorf("union %v", union)
	}
	if !res.Stale().SameIDs(old) || len(res.Inventory()) != 4 {
		t.Errorf("stale %v, inventory %v", res.Stale(), res.Inventory())
	}

	b.mustApply(fourObjects, func(o *Options) {
		o.BeforeFirstWrite = func(context.Context, Inventory) error {
			t.Error("recorded although the set of ids is the same")
			return nil
		}
	})
}

// TestInterrupted cancels after each write in turn: the object being written is finished, nothing
// after it is touched, and the next pass completes the work.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	superseded := errors.New("superseded")
	for stop := 1; stop <= 4; stop++ {
		b := newBench(t)
		ctx, cancel := context.WithCancelCause(context.Background())
		writes := 0
		b.count.before = func(class string) {
			if class == "apply" {
				if writes++; writes == stop {
					cancel(superseded)
				}
			}
		}
		res, err := Apply(ctx, b.prepare(fourObjects), b.options())
		if stop == 4 {
			if err != nil {
				t.Errorf("all was written before the end: %v", err)
			}
			continue
		}
		var interrupted *InterruptedError
		if !errors.As(err, &interrupted) || !errors.Is(err, superseded) {
			t.Fatalf("stop %d: %v", stop, err)
		}
		if interrupted.Written != stop || interrupted.Left != 4-stop || len(res.Changes.Changed()) != stop {
			t.Errorf("stop %d: %+v, changes %v", stop, interrupted, res.Changes)
		}
		b.count.before = nil
		res = b.mustApply(fourObjects, nil)
		if got := len(res.Changes.With(Created)); got != 4-stop {
			t.Errorf("stop %d: the next pass created %d", stop, got)
		}
	}
}

// TestInterruptedSideBySide cancels while two objects of one kind are being written: both are
// finished, no other is begun, and all are noted in order.
func TestInterruptedSideBySide(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var docs []string
	for n := range 6 {
		docs = append(docs, fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: m%d, namespace: $NS}}", n))
	}
	manifest := strings.Join(docs, "\n---\n")
	ctx, cancel := context.WithCancel(context.Background())
	var writes atomic.Int32
	b.count.before = func(class string) {
		if class != "apply" {
			return
		}
		if writes.Add(1) == 2 {
			cancel()
		}
		<-ctx.Done()
	}
	o := b.options()
	o.Concurrency = 2
	res, err := Apply(ctx, b.prepare(manifest), o)
	var interrupted *InterruptedError
	if !errors.As(err, &interrupted) || interrupted.Written != 2 || interrupted.Left != 4 {
		t.Fatalf("got %+v, %v", err, res.Changes)
	}
	want(t, "changes", b.lines(res.Changes), "ConfigMap/NS/m0 created\nConfigMap/NS/m1 created")
	b.count.before = nil
	if got := len(b.mustApply(manifest, nil).Changes.With(Created)); got != 4 {
		t.Errorf("the next pass created %d", got)
	}
}

// TestInterruptedDryRun cancels while the stage is being validated: nothing is written.
func TestInterruptedDryRun(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx, cancel := context.WithCancel(context.Background())
	b.count.before = func(class string) {
		if class == "dry-run" {
			cancel()
		}
	}
	set := b.prepare(fourObjects)
	b.count.take()
	res, err := Apply(ctx, set, b.options())
	var interrupted *InterruptedError
	if !errors.As(err, &interrupted) || len(res.Changes) != 0 || interrupted.Written != 0 {
		t.Errorf("got %v, %v", err, res.Changes)
	}
}
