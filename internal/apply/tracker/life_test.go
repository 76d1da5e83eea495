package tracker

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/gitops-toolkit/flux/internal/apply"
)

const oneMap = `apiVersion: v1
kind: ConfigMap
metadata: {name: app, namespace: $NS}
data: {k: git, l: git}`

// quiet fails when a notification arrives before the watch is up to date.
func (b *bench) quiet(why string) {
	b.t.Helper()
	b.patch("cm", "marker", `{"metadata":{"labels":{"marker":"`+fmt.Sprint(time.Now().UnixNano())+`"}}}`)
	select {
	case <-b.notified:
		b.t.Errorf("notified although %s", why)
	case <-time.After(300 * time.Millisecond):
	}
}

// TestNoNews has an owner told, as first lists do, while all is in step: it may have failed meanwhile, and would try again.
func TestNoNews(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.install(oneMap)
	b.tracker.mu.Lock()
	b.tracker.notifyLocked(b.key, b.tracker.Now())
	b.tracker.mu.Unlock()
	select {
	case <-b.notified:
		t.Error("notified although all is in step")
	case <-time.After(100 * time.Millisecond):
	}
}

// TestFight shows that a manager who takes the same field again waits for the interval, and that
// others do not.
func TestFight(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.install(oneMap)
	b.patch("cm", "rival", `{"data":{"k":"1"}}`)
	b.awaitNotify()
	if changes, _ := b.pass(oneMap, b.owner.AtRevision()); changes == "" {
		t.Fatal("the first correction is immediate")
	}
	b.await("in step", func() bool { return len(b.owner.Drifts()) == 0 })
	b.drain()

	b.patch("cm", "rival", `{"data":{"l":"1"}}`)
	b.awaitNotify() // another field
	b.pass(oneMap, b.owner.AtRevision())
	b.await("in step", func() bool { return len(b.owner.Drifts()) == 0 })
	b.drain()

	b.patch("cm", "rival", `{"data":{"l":"2"}}`)
	select {
	case d := <-b.fights:
		if d.Manager != "rival" || d.State != Taken {
			t.Errorf("fight %+v", d)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("no fight was reported")
	}
	b.quiet("it is a fight")
	if changes, requests := b.pass(oneMap, b.owner.AtRevision()); changes+requests != "" {
		t.Errorf("before the interval: %s with %s", changes, requests)
	}
	if changes, _ := b.pass(oneMap, b.owner.AtInterval()); changes == "" {
		t.Error("nothing was corrected at the interval")
	}
	if len(b.fights) != 0 {
		t.Error("one fight was reported twice within the interval")
	}
}

// TestDeletedAgain deletes an object each time that it is back: it comes back at once a few times, then ever more
// slowly, which is reported once, and at the interval whatever happens. What lived for a while comes back at once.
func TestDeletedAgain(t *testing.T) {
	t.Parallel()
	x := newFixture("a")
	id := apply.NewID("ns", "a", "", "ConfigMap")
	x.f.replace([]metav1.PartialObjectMetadata{item("a", 10)}, "10")
	x.f.open()
	x.wrote(item("a", 10))
	x.o.Configure(10*time.Second, true)
	fights := 0
	x.Fight = func(Key, Drift) { fights++ }
	version := 10
	waited := func() time.Duration {
		x.notified()
		version++
		x.saw(x.f.k, id, nil, fmt.Sprint(version))
		began, when := x.now, x.pending[x.o.key]
		for !x.o.Due() {
			x.now = x.now.Add(100 * time.Millisecond)
		}
		if early := x.now.Sub(when); early > time.Second {
			t.Errorf("it is to be looked at %s after it was told", early)
		}
		version++
		back := item("a", version)
		x.wrote(back)
		x.saw(x.f.k, id, &back, fmt.Sprint(version))
		return x.now.Sub(began).Round(time.Second)
	}
	for i, want := range []time.Duration{0, 0, 0, 1, 2, 4, 8, 10, 10} {
		x.now = x.now.Add(time.Second)
		if got := waited(); got != want*time.Second {
			t.Errorf("deletion %d: gone for %s, want %s", i+1, got, want*time.Second)
		}
	}
	if fights == 0 || fights > 4 {
		t.Errorf("reported %d times", fights)
	}
	x.now = x.now.Add(time.Minute)
	if got := waited(); got != 0 {
		t.Errorf("after a minute's life it was gone for %s", got)
	}
}

// TestPassive shows an owner whose drift is corrected at the interval only.
func TestPassive(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.owner.Configure(time.Hour, false)
	b.install(oneMap)
	b.patch("cm", "rival", `{"data":{"k":"1"}}`)
	b.quiet("corrections wait for the interval")
	if changes, requests := b.pass(oneMap, b.owner.AtInterval()); changes == "" || requests != "1 apply" {
		t.Errorf("%s with %s", changes, requests)
	}
}

// TestRestart shows that the digest of the last process spares a restarted one all requests, unless
// something happened meanwhile.
func TestRestart(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason string
		while  func(b *bench)
		want   bool
	}{
		{"nothing happened", func(*bench) {}, true},
		{"fields of others changed", func(b *bench) { b.patch("cm", "other", `{"data":{"x":"1"}}`) }, true},
		{"drift", func(b *bench) { b.patch("cm", "rival", `{"data":{"k":"1"}}`) }, false},
		{"deleted", func(b *bench) { b.del("cm") }, false},
		{"kubectl wrote", func(b *bench) { b.patch("cm", "kubectl-edit", `{"data":{"x":"1"}}`) }, false},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, nil)
			b.install(target)
			digest := b.owner.Digest()
			if digest == "" {
				t.Fatal("no digest")
			}
			tc.while(b)
			b.restart(nil)
			b.owner.Follow(b.inv)
			b.await("the first lists", b.owner.Synced)
			b.awaitNotify()
			if got := b.owner.Restore(digest); got != tc.want {
				t.Fatalf("restored: %v", got)
			}
			if drifts := b.owner.Drifts(); tc.want && len(drifts) > 0 {
				t.Errorf("restored, but %v", drifts)
			}
			if tc.want {
				b.owner.Learn(b.set(target).Hashes())
			}
			changes, requests := b.pass(target, b.owner.AtInterval())
			if tc.want && changes+requests != "" {
				t.Errorf("%s with %s", changes, requests)
			}
			if !tc.want && requests == "" {
				t.Error("nothing was looked at")
			}
		})
	}
}

// TestForbidden shows that a kind that may not be watched is looked at at the interval.
func TestForbidden(t *testing.T) {
	t.Parallel()
	var told atomic.Int32
	b := newBench(t, func(o *Options) {
		o.Client = connect(t, func(c *rest.Config) { c.Impersonate.UserName = "system:serviceaccount:default:nobody" })
		o.Log = func(string, ...any) { told.Add(1) }
	})
	b.pass(oneMap, b.owner.AtRevision())
	b.await("denied", func() bool { return len(b.tracker.stats().Denied) == 1 && b.owner.Synced() })
	if changes, requests := b.pass(oneMap, b.owner.AtRevision()); changes+requests != "" {
		t.Errorf("a new revision with the same objects: %s with %s", changes, requests)
	}
	if _, requests := b.pass(oneMap, b.owner.AtInterval()); requests != "1 dry-run" {
		t.Errorf("the interval: %s", requests)
	}
	if told.Load() != 1 || b.owner.Digest() == "" {
		t.Errorf("told %d times, digest %q", told.Load(), b.owner.Digest())
	}
}

// TestTooManyKinds shows the bound on watches.
func TestTooManyKinds(t *testing.T) {
	t.Parallel()
	b := newBench(t, func(o *Options) { o.MaxWatches = 2 })
	b.pass(target, b.owner.AtRevision())
	b.await("the first lists", b.owner.Synced)
	if s := b.tracker.stats(); s.Kinds != 4 || len(s.Denied) != 2 || s.Objects != 4 {
		t.Errorf("stats %+v", s)
	}
	b.tracker.Release(b.key)
	if s := b.tracker.stats(); s.Kinds != 0 || s.Objects != 0 || s.Owners != 0 {
		t.Errorf("stats after the release %+v", s)
	}
}

// TestFinishedJob shows that a Job that its time to live removed comes back at the interval.
func TestFinishedJob(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	const job = `apiVersion: batch/v1
kind: Job
metadata: {name: app, namespace: $NS}
spec: {ttlSecondsAfterFinished: 3600, template: {spec: {restartPolicy: Never, containers: [{name: c, image: "example.com/i:1"}]}}}`
	b.install(job)
	jobs := b.admin.Dynamic().Resource(schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "jobs"}).Namespace(b.ns)
	background := metav1.DeletePropagationBackground
	if err := jobs.Delete(context.Background(), "app", metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
		t.Fatal(err)
	}
	b.await("gone", func() bool { d := b.owner.Drifts(); return len(d) == 1 && d[0].State == Gone })
	if changes, requests := b.pass(job, b.owner.AtRevision()); changes+requests != "" {
		t.Errorf("before the interval: %s with %s", changes, requests)
	}
	if changes, _ := b.pass(job, b.owner.AtInterval()); changes != "created" {
		t.Errorf("at the interval: %q", changes)
	}
}

// TestPatience shows that an object that moves all the time costs ever fewer dry-runs.
func TestPatience(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.install(target)
	b.age()
	move := func(n int) {
		b.patch("deploy", "someone", fmt.Sprintf(`{"spec":{"minReadySeconds":%d}}`, n))
		b.await("moved", func() bool { d := b.owner.Drifts(); return len(d) == 1 && d[0].State == Moved })
	}
	move(1)
	b.awaitNotify()
	if _, requests := b.pass(target, b.owner.AtRevision()); requests != "1 dry-run" {
		t.Errorf("first: %s", requests)
	}
	b.drain()
	b.age()
	move(2)
	b.quietPass(target, "it was looked at less than ten seconds ago")
	b.tracker.mu.Lock()
	var waits time.Duration
	for _, obj := range b.owner.objects {
		waits = max(waits, obj.patience)
	}
	b.tracker.mu.Unlock()
	if waits != firstPatience {
		t.Errorf("patience %s", waits)
	}
	b.pass(target, b.owner.AtInterval())
	b.tracker.mu.Lock()
	for _, obj := range b.owner.objects {
		waits = max(waits, obj.patience)
	}
	b.tracker.mu.Unlock()
	if waits != 2*firstPatience {
		t.Errorf("patience after the second look %s", waits)
	}
}

// quietPass runs a pass that must not cost anything.
func (b *bench) quietPass(docs, why string) {
	b.t.Helper()
	if changes, requests := b.pass(docs, b.owner.AtRevision()); changes+requests != "" {
		b.t.Errorf("%s with %s although %s", changes, requests, why)
	}
}

// TestTwoOwners shows who else desires an id, and that one owner's write is not the other's drift
// before the interval.
func TestTwoOwners(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	b.install(oneMap)
	first := b.owner
	b.key = Key{Namespace: b.ns, Name: "second"}
	b.owner, b.inv = b.tracker.Owner(b.key), nil
	b.owner.Configure(time.Hour, true)
	b.pass(oneMap, b.owner.AtRevision())
	b.await("the first owner sees that it moved", func() bool {
		d := first.Drifts()
		return len(d) == 1 && d[0].State == Elsewhere
	})
	b.age()
	b.drain()
	b.quiet("the other owner may keep it until the interval")
}

// TestNotConfirmed shows that objects whose policies let live values be are looked at at the interval.
func TestNotConfirmed(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil)
	docs := `apiVersion: v1
kind: ConfigMap
metadata: {name: app, namespace: $NS, annotations: {` + b.group + `/ssa: Merge}}
data: {k: git}`
	b.install(docs)
	b.quietPass(docs, "a revision with the same objects needs no look")
	if _, requests := b.pass(docs, b.owner.AtInterval()); requests != "1 dry-run" {
		t.Errorf("the interval: %s", requests)
	}
	if b.owner.Digest() != "" {
		t.Error("a digest that metadata cannot confirm")
	}
}

// TestFullPass shows that every owner has its own phase and is due once an interval.
func TestFullPass(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	tr := &Tracker{Options: Options{FullPassInterval: 24 * time.Hour, Now: func() time.Time { return now }},
		owners: map[Key]*Owner{}, byID: map[apply.ID][]*Owner{}}
	phases := map[time.Time]bool{}
	for i := range 100 {
		o := tr.Owner(Key{"ns", fmt.Sprint(i)})
		if o.FullPassDue() {
			t.Errorf("owner %d is due at once", i)
		}
		phases[o.lastFull] = true
	}
	if len(phases) < 90 {
		t.Errorf("%d phases of 100 owners", len(phases))
	}
	var oldest, youngest time.Duration = 0, 24 * time.Hour
	for at := range phases {
		oldest, youngest = max(oldest, now.Sub(at)), min(youngest, now.Sub(at))
	}
	if oldest < 10*time.Hour || oldest > 12*time.Hour || youngest < 0 || youngest > 2*time.Hour {
		t.Errorf("the phases are from %s to %s, want them over half of the interval", youngest, oldest)
	}
	o := tr.Owner(Key{"ns", "1"})
	now = now.Add(24 * time.Hour)
	if !o.FullPassDue() {
		t.Error("not due after the interval")
	}
	o.FullPassDone()
	if o.FullPassDue() {
		t.Error("due again at once")
	}
}
