package kernel_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kernel/kerneltest"
)

func TestIdleIntervalWritesNothing(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	var passes atomic.Int32
	done := make(chan struct{})
	lab.Start(&kerneltest.Script{OnReconcile: func(_ context.Context, req *probeRequest) kernel.Outcome {
		if passes.Add(1) == 6 {
			close(done)
		}
		return kernel.Done("", "same")
	}})
	lab.Create("a", func(p *probe) { p.Spec.Interval = meta.NewDuration(50 * time.Millisecond) })
	<-done
	if n := len(lab.History("a")); n > 3 {
		t.Errorf("%d states after six passes, want 3: created, finalizer, verdict", n)
	}
}

func TestRequestIsAnsweredWithTheVerdict(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	var triggers sync.Map
	lab.Start(&kerneltest.Script{OnReconcile: func(_ context.Context, req *probeRequest) kernel.Outcome {
		triggers.Store(req.Requested(), req.Trigger)
		return kernel.Done("", "fine")
	}})
	lab.Create("a")
	lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	lab.Request("a", "t1")
	lab.Until("a", "answered", func(p *probe) bool { return p.Status.LastHandledReconcileAt == "t1" })
	got, _ := triggers.Load("t1")
	if trigger, ok := got.(kernel.Trigger); !ok || !trigger.Has(kernel.TriggerRequested) {
		t.Errorf("trigger %v, want requested", got)
	}
	truthful(t, lab, "a")
}

func TestPanicHurtsOneObject(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	lab.Start(&kerneltest.Script{OnReconcile: func(_ context.Context, req *probeRequest) kernel.Outcome {
		switch req.Object.Spec.Input {
		case "pass":
			panic("boom")
		case "job":
			return kernel.Working(kernel.Job{Key: "k", Run: func(context.Context) (any, error) { panic("boom in a job") }})
		}
		return kernel.Done("", "fine")
	}})
	lab.Create("pass", func(p *probe) { p.Spec.Input = "pass" })
	lab.Create("job", func(p *probe) { p.Spec.Input = "job" })
	lab.Create("well")
	lab.Ready("well", metav1.ConditionTrue, meta.SucceededReason)
	for name, text := range map[string]string{"pass": "panic: boom;", "job": "panic: boom in a job;"} {
		p := lab.Ready(name, metav1.ConditionFalse, meta.FailedReason)
		if c := condition(p, meta.ReadyCondition); !strings.HasPrefix(c.Message, text) {
			t.Errorf("%s: message %q", name, c.Message)
		}
	}
	lab.Update("pass", func(p *probe) { p.Spec.Input = "" })
	lab.Ready("pass", metav1.ConditionTrue, meta.SucceededReason)
}

func TestPoisonHurtsOneObject(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	poison := &unstructured.Unstructured{Object: map[string]any{
		"spec": map[string]any{"interval": "every now and then"},
	}}
	poison.SetGroupVersionKind(kerneltest.GroupVersion.WithKind("Probe"))
	poison.SetNamespace(lab.Namespace)
	poison.SetName("poison")
	if err := lab.Client.Create(t.Context(), poison); err != nil {
		t.Fatal(err)
	}
	lab.Start(&kerneltest.Script{}) // the poison is there when the first list is read
	lab.Create("well")
	lab.Ready("well", metav1.ConditionTrue, meta.SucceededReason)
	p := lab.Ready("poison", metav1.ConditionFalse, meta.FailedReason)
	if c := condition(p, meta.StalledCondition); !strings.Contains(c.Message, "spec.interval") {
		t.Errorf("message %q does not name the field", c.Message)
	}
	patch := []byte(`{"spec":{"interval":"1h"}}`)
	if err := lab.Client.Patch(t.Context(), poison, client.RawPatch(types.MergePatchType, patch)); err != nil {
		t.Fatal(err)
	}
	lab.Ready("poison", metav1.ConditionTrue, meta.SucceededReason)
}

func TestBackoffGrowsAndIsForgotten(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	var mu sync.Mutex
	var times []time.Time
	lab.Start(&kerneltest.Script{OnReconcile: func(_ context.Context, req *probeRequest) kernel.Outcome {
		if req.Job == nil {
			return kernel.Working(kernel.Job{Key: "k", Run: func(context.Context) (any, error) { return nil, errors.New("down") }})
		}
		mu.Lock()
		defer mu.Unlock()
		if times = append(times, time.Now()); len(times) < 5 {
			return kernel.Failed("FetchFailed", req.Job.Err).Backoff()
		}
		return kernel.Done("", "up")
	}}, func(s *kernel.Settings) { s.MinRetryDelay = 40 * time.Millisecond })
	lab.Create("a")
	lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	mu.Lock()
	defer mu.Unlock()
	for i, least := range []time.Duration{40, 80, 160, 320} {
		if d := times[i+1].Sub(times[i]); d < least*time.Millisecond {
			t.Errorf("delay %d is %s, want at least %dms although a job ran between", i, d, least)
		}
	}
}

// TestBackoffKeepsTheSchedule fails an object so often that the exponential delay alone would be five minutes, and
// expects its next attempt when its interval ends.
func TestBackoffKeepsTheSchedule(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	var attempts atomic.Int32
	lab.Start(&kerneltest.Script{OnReconcile: func(context.Context, *probeRequest) kernel.Outcome {
		if attempts.Add(1) < 14 {
			return kernel.Failed("FetchFailed", errors.New("down")).Backoff()
		}
		return kernel.Done("", "up")
	}}, func(s *kernel.Settings) { s.MinRetryDelay = 40 * time.Millisecond })
	lab.Create("a", func(p *probe) { p.Spec.Interval = meta.NewDuration(50 * time.Millisecond) })
	lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
}

func TestOthersConditionsAndEditsSurvive(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	var once sync.Once
	lab.Start(&kerneltest.Script{OnReconcile: func(ctx context.Context, req *probeRequest) kernel.Outcome {
		once.Do(func() { // somebody writes between our read and our write
			foreign := metav1.Condition{Type: "Audited", Status: metav1.ConditionTrue, Reason: "Manual", Message: "ok", LastTransitionTime: metav1.Now()}
			live := &probe{}
			if err := lab.Client.Get(ctx, client.ObjectKeyFromObject(req.Object), live); err != nil {
				t.Error(err)
			}
			live.Status.Conditions = append(live.Status.Conditions, foreign)
			live.Status.Notes = map[string]string{"theirs": "kept"}
			if err := lab.Client.Status().Update(ctx, live); err != nil {
				t.Error(err)
			}
		})
		req.SetCondition(meta.HealthyCondition, metav1.ConditionTrue, meta.SucceededReason, "healthy")
		req.Object.Status.Revision = "r1"
		return kernel.Done("", "fine")
	}})
	lab.Create("a")
	p := lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	if condition(p, "Audited").Reason != "Manual" || p.Status.Notes["theirs"] != "kept" {
		t.Errorf("what others wrote is gone: %+v", p.Status)
	}
	if condition(p, meta.HealthyCondition).Message != "healthy" || p.Status.Revision != "r1" {
		t.Errorf("what the kind wrote is missing: %+v", p.Status)
	}
	managers := map[string]bool{}
	for _, f := range p.ManagedFields {
		managers[f.Manager+" "+f.Subresource] = true
	}
	if !managers["gotk-probe-controller status"] {
		t.Errorf("managers %v, want gotk-probe-controller for the status", managers)
	}
}

func TestFinalizeFailsThenLetsGo(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	var calls atomic.Int32
	lab.Start(&kerneltest.Script{OnFinalize: func(context.Context, *probeRequest) kernel.Outcome {
		if calls.Add(1) < 3 {
			return kernel.Failed(meta.PruneFailedReason, errors.New("not yet")).Backoff()
		}
		return kernel.Done("", "")
	}}, func(s *kernel.Settings) { s.MinRetryDelay = 20 * time.Millisecond })
	lab.Create("a", func(p *probe) { p.Spec.Suspend = true })
	lab.Create("b")
	lab.Ready("b", metav1.ConditionTrue, meta.SucceededReason)
	lab.Delete("b")
	lab.Gone("b")
	lab.Update("a", func(p *probe) { p.Finalizers = []string{meta.Finalizer} })
	lab.Delete("a") // a suspended object is cleaned up too
	lab.Gone("a")
}

// Legacy status of any shape must not stop a kind from being served.
func TestStrangeStatusIsTolerated(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	lab.Create("a")
	status, err := json.Marshal(map[string]any{"status": map[string]any{
		"observedGeneration": 0, "legacy": map[string]any{"x": 1},
		"conditions": []any{map[string]any{"type": "Ready", "status": "True", "reason": "Old", "message": "", "lastTransitionTime": "2026-01-01t00:00:00z"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	p := &probe{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: lab.Namespace}}
	if err := lab.Client.Status().Patch(t.Context(), p, client.RawPatch(types.MergePatchType, status)); err != nil {
		t.Fatal(err)
	}
	lab.Start(&kerneltest.Script{})
	lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	raw := &unstructured.Unstructured{}
	raw.SetGroupVersionKind(kerneltest.GroupVersion.WithKind("Probe"))
	if err := lab.Client.Get(t.Context(), client.ObjectKeyFromObject(p), raw); err != nil {
		t.Fatal(err)
	}
	if x, found, _ := unstructured.NestedInt64(raw.Object, "status", "legacy", "x"); !found || x != 1 {
		t.Errorf("a field that we do not know was lost: %v", raw.Object["status"])
	}
}

// At start, what has an open question goes before what only waits for its interval.
func TestRequestedAndNewGoFirst(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	stop := lab.Start(&kerneltest.Script{})
	names := []string{"a", "b", "c", "d", "e"}
	for _, n := range names {
		lab.Create(n)
	}
	for _, n := range names {
		lab.Ready(n, metav1.ConditionTrue, meta.SucceededReason)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	lab.Request("e", "t1")
	lab.Create("new")
	var mu sync.Mutex
	var order []string
	lab.Start(&kerneltest.Script{OnReconcile: func(_ context.Context, req *probeRequest) kernel.Outcome {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, req.Object.Name)
		return kernel.Done("", "again "+req.Object.Name)
	}}, func(s *kernel.Settings) { s.Concurrent = 1 })
	for _, n := range append(names, "new") {
		lab.Until(n, "done again", func(p *probe) bool { return condition(p, meta.ReadyCondition).Message == "again "+n })
	}
	mu.Lock()
	defer mu.Unlock()
	// The single worker may already have taken another one before the list was complete.
	first := strings.Join(order[:3], " ")
	if !strings.Contains(first, "e") || !strings.Contains(first, "new") {
		t.Errorf("order %v: the requested and the new one belong at the front", order)
	}
}
