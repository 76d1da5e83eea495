package kernel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

func TestIndexFindsTheShortestCircle(t *testing.T) {
	t.Parallel()
	x := newIndex("g", "K")
	name := func(n string) types.NamespacedName { return types.NamespacedName{Namespace: "ns", Name: n} }
	on := func(names ...string) (refs []Reference) {
		for _, n := range names {
			refs = append(refs, Reference{Group: "g", Kind: "K", Name: n, DependsOn: true})
		}
		return refs
	}
	x.set(name("a"), on("b", "c"))
	x.set(name("b"), on("d"))
	x.set(name("d"), on("a"))
	if woken := x.set(name("c"), on("a")); len(woken) == 0 {
		t.Error("closing a circle wakes nobody")
	}
	x.set(name("e"), on("a"))
	if got := x.cycle(name("a")); len(got) != 3 || got[1] != name("c") {
		t.Errorf("circle of a: %v", got)
	}
	if got := x.cycle(name("e")); got != nil {
		t.Errorf("e is in no circle, but got %v", got)
	}
	if woken := x.remove(name("d")); len(woken) != 3 {
		t.Errorf("the end of d wakes %v, want a, b and c", woken)
	}
	if got := x.referrers(refKey{"g", "K", name("a")}, OnReady); len(got) != 2 {
		t.Errorf("referrers of a: %v", got)
	}
	if got := x.cycle(name("b")); got != nil {
		t.Errorf("circle of b: %v", got)
	}
}

func TestPosterRetriesWhatMayHelp(t *testing.T) {
	t.Parallel()
	tests := []struct {
		reason  string
		answers []int
		want    int32
	}{
		{"taken", []int{202}, 1},
		{"a duplicate is dropped", []int{429, 202}, 1},
		{"a bad request stays bad", []int{400, 202}, 1},
		{"a redirect is not followed", []int{307, 202}, 1},
		{"an error of the server may pass", []int{500, 503, 202}, 3},
		{"but not for ever", []int{500}, postAttempts},
	}
	for _, tt := range tests {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				n := int(calls.Add(1))
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.answers[min(n, len(tt.answers))-1])
			}))
			defer srv.Close()
			p := newPoster(srv.URL, logr.Discard())
			p.pause = time.Millisecond
			p.deliver(t.Context(), &posted{Message: "m"})
			if got := calls.Load(); got != tt.want {
				t.Errorf("%d requests, want %d", got, tt.want)
			}
		})
	}
}

func TestPosterNeverBlocksAndDeliversAtStop(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	gate := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-gate
		calls.Add(1)
		w.WriteHeader(http.StatusAccepted)
	}))
	defer srv.Close()
	p := newPoster(srv.URL, logr.Discard())
	p.lines.drain = time.Minute
	for range 10 * lineLength {
		p.send(&posted{InvolvedObject: corev1.ObjectReference{Name: "same"}}) // returns although nobody delivers
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	close(gate)
	p.lines.run(ctx)
	if got := calls.Load(); got != lineLength {
		t.Errorf("%d were delivered at stop, want the %d that were queued", got, lineLength)
	}
}

func TestLogKeys(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := NewLogger(&out, "json", "info")
	if err != nil {
		t.Fatal(err)
	}
	log = log.WithName("a").WithName("b").WithValues("controller", "kustomization", "Kustomization", klog.KRef("ns", "n"), "reconcileID", types.UID("id"))
	log.Error(errors.New("cannot reach https://u:secret@h"), "failed at https://u:secret@h", "revision", "main@sha1:1", "wait", time.Second)
	log.V(1).Info("not at this level")
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	want := map[string]any{
		"level": "error", "logger": "a.b", "msg": "failed at https://u:*****@h", "error": "cannot reach https://u:*****@h",
		"controller": "kustomization", "reconcileID": "id", "revision": "main@sha1:1", "wait": "1s",
	}
	for k, v := range want {
		if line[k] != v {
			t.Errorf("%s is %v, want %v", k, line[k], v)
		}
	}
	if ref, _ := line["Kustomization"].(map[string]any); ref["name"] != "n" || ref["namespace"] != "ns" {
		t.Errorf("object %v", line["Kustomization"])
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000Z", line["ts"].(string)); err != nil {
		t.Error(err)
	}
	if strings.Contains(out.String(), `"time"`) || strings.Contains(out.String(), "not at this level") {
		t.Errorf("log %s", out.String())
	}
}

func TestListenAddress(t *testing.T) {
	t.Setenv("FLUX_BIND_HOST", "127.3.4.5")
	for in, want := range map[string]string{":8080": "127.3.4.5:8080", "0": "0", "10.0.0.1:1": "10.0.0.1:1", "": ""} {
		if got := ListenAddress(in); got != want {
			t.Errorf("ListenAddress(%q) = %q, want %q", in, got, want)
		}
	}
}

// A job may end while the kind decides to let it run on; then it must not run again.
func TestEndedJobIsNotRepeated(t *testing.T) {
	t.Parallel()
	e := &engine{m: &Manager{pool: newPool(1)}}
	defer e.m.pool.close(time.Second)
	tests := []struct {
		reason string
		result JobResult
		starts bool
	}{
		{"the same desire has its result", JobResult{desire: "3/false/k"}, false},
		{"another desire has one", JobResult{desire: "3/false/other"}, true},
		{"a cancelled run is no result", JobResult{desire: "3/false/k", Superseded: true}, true},
	}
	for _, tt := range tests {
		obj := object()
		st := &state{result: &tt.result, attempt: newAttempt(obj, time.Now())}
		p := &pass{e: e, st: st, object: obj, attempt: st.attempt}
		ran := make(chan struct{}, 1)
		e.work(p, Job{Key: "k", Run: func(context.Context) (any, error) { ran <- struct{}{}; return nil, nil }})
		if tt.starts {
			<-ran
		}
		e.m.pool.wg.Wait()
		if len(ran) != 0 {
			t.Errorf("%s: the job ran", tt.reason)
		}
	}
}

// A job that stands in line for long says so, unless it runs or the kind has said more.
func TestQueuedJobsSaySo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason string
		begun  bool
		said   *Progress
		want   string
	}{
		{"in line", false, nil, "waiting for other work to end"},
		{"at work", true, nil, ""},
		{"the kind knows better", false, &Progress{Message: "building"}, "building"},
	} {
		obj, r := object(), &run{}
		if tt.begun {
			r.begun.Store(&time.Time{})
		}
		st := &state{job: r, attempt: newAttempt(obj, time.Now())}
		st.attempt.progress = tt.said
		p := &pass{st: st, object: obj, attempt: st.attempt}
		p.queued(r)
		got := ""
		if p.attempt.progress != nil {
			got = p.attempt.progress.Message
		}
		st.closeAttempt()
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.reason, got, tt.want)
		}
	}
}

// A server that asks for the same short pause again and again is asked less and less often.
func TestBackoffKeepsThePauseThatWasAskedFor(t *testing.T) {
	t.Parallel()
	b := newBackoff(40*time.Millisecond, time.Hour, func(reconcile.Request) time.Duration { return 300 * time.Millisecond })
	var got []time.Duration
	for _, pause := range []time.Duration{100, 100, 100, 0, 900, 0} {
		got = append(got, b.pause(reconcile.Request{}, pause*time.Millisecond)/time.Millisecond)
	}
	if want := []time.Duration{100, 100, 160, 300, 900, 300}; !slices.Equal(got, want) {
		t.Errorf("delays %v, want %v: never below the pause, growing beyond it", got, want)
	}
}

func TestBackoffIsBoundedByTheSchedule(t *testing.T) {
	t.Parallel()
	var interval time.Duration
	b := newBackoff(40*time.Millisecond, time.Hour, func(reconcile.Request) time.Duration { return interval })
	var got []time.Duration
	for _, next := range []time.Duration{200, 200, 200, 200, 1, 0} {
		interval = next * time.Millisecond
		got = append(got, b.When(reconcile.Request{})/time.Millisecond)
	}
	if want := []time.Duration{40, 80, 160, 200, 40, 1280}; !slices.Equal(got, want) {
		t.Errorf("delays %v, want %v: grown to the interval, never below the least, and unbounded without an interval", got, want)
	}
}

// A thousand objects that stand in line for a new revision are not written once more to say so.
func TestProgressWaitsForTheTurn(t *testing.T) {
	t.Parallel()
	now := time.Now()
	at := func(ago time.Duration) *time.Time { begun := now.Add(-ago); return &begun }
	for _, tt := range []struct {
		name    string
		trigger Trigger
		queued  time.Duration
		begun   *time.Time
		flushed time.Time
		held    bool
	}{
		{"in line", TriggerReference, 2 * time.Second, nil, time.Time{}, true},
		{"in line because somebody asked", TriggerRequested | TriggerReference, 2 * time.Second, nil, time.Time{}, false},
		{"in line for ever", TriggerInterval, 2 * lineDelay, nil, time.Time{}, false},
		{"has just begun", TriggerReference, 2 * time.Second, at(progressDelay / 10), time.Time{}, true},
		{"works", TriggerReference, 2 * time.Second, at(2 * progressDelay), time.Time{}, false},
		{"has told already", TriggerReference, 2 * time.Second, at(0), now, false},
	} {
		r := &run{started: now.Add(-tt.queued)}
		r.begun.Store(tt.begun)
		a := &attempt{trigger: tt.trigger, flushed: tt.flushed}
		if wait := a.holdBack(&state{job: r}); wait > 0 != tt.held {
			t.Errorf("%s: held back for %s", tt.name, wait)
		}
	}
	if wait := (&attempt{}).holdBack(&state{}); wait > 0 {
		t.Errorf("without a job: held back for %s", wait)
	}
	if wait := (&attempt{}).holdBack(&state{result: &JobResult{}}); wait <= 0 {
		t.Error("told although the verdict is due")
	}
}
