package kernel_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kernel/kerneltest"
)

func condition(p *kerneltest.Probe, conditionType string) metav1.Condition {
	if c := p.Status.Conditions.Get(conditionType); c != nil {
		return *c
	}
	return metav1.Condition{}
}

func TestDoneIsOnePatch(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	lab.Start(&kerneltest.Script{OnReconcile: func(_ context.Context, req *kernel.Request[*kerneltest.Probe]) kernel.Outcome {
		req.Object.Status.Revision = "r1"
		return kernel.Done("ReconciliationSucceeded", "Applied revision: r1")
	}})
	lab.Create("a")
	p := lab.Ready("a", metav1.ConditionTrue, "ReconciliationSucceeded")
	if p.Status.ObservedGeneration != 1 || p.Status.Revision != "r1" {
		t.Errorf("status %+v: want generation and revision observed", p.Status)
	}
	if len(p.Finalizers) != 1 || p.Finalizers[0] != meta.Finalizer {
		t.Errorf("finalizers %v", p.Finalizers)
	}
	if n := len(lab.History("a")); n != 3 {
		t.Errorf("%d states were seen, want 3: created, finalizer, verdict", n)
	}
	lab.Delete("a")
	lab.Gone("a")
}

func TestFailedKeepsGenerationAndRetries(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	var calls atomic.Int32
	lab.Start(&kerneltest.Script{OnReconcile: func(_ context.Context, req *kernel.Request[*kerneltest.Probe]) kernel.Outcome {
		if calls.Add(1) < 3 {
			req.Progress(kernel.Progress{Message: "building", Ready: "Reconciliation in progress"})
			return kernel.Failed("BuildFailed", errors.New("no such file"))
		}
		return kernel.Done("", "fine")
	}})
	lab.Create("a", func(p *kerneltest.Probe) { p.Spec.RetryInterval = meta.DurationPtr(300 * time.Millisecond) })
	p := lab.Ready("a", metav1.ConditionFalse, "BuildFailed")
	if p.Status.ObservedGeneration != -1 {
		t.Errorf("observedGeneration %d: a failure must not move it", p.Status.ObservedGeneration)
	}
	if c := condition(p, meta.ReconcilingCondition); c.Reason != meta.ProgressingWithRetryReason || c.Message != "building" {
		t.Errorf("Reconciling %+v: want the last progress with ProgressingWithRetry", c)
	}
	p = lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	if condition(p, meta.ReconcilingCondition).Type != "" {
		t.Error("Reconciling is still there after success")
	}
}

func TestStalledWaitsForAChange(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	lab.Start(&kerneltest.Script{OnReconcile: func(_ context.Context, req *kernel.Request[*kerneltest.Probe]) kernel.Outcome {
		if req.Object.Spec.Input == "bad" {
			return kernel.Stalled("InvalidPath", errors.New("bad path"))
		}
		return kernel.Done("", "fine")
	}})
	lab.Create("a", func(p *kerneltest.Probe) { p.Spec.Input = "bad" })
	p := lab.Ready("a", metav1.ConditionFalse, "InvalidPath")
	if c := condition(p, meta.StalledCondition); c.Status != metav1.ConditionTrue || c.Message != "bad path" {
		t.Errorf("Stalled %+v", c)
	}
	if p.Status.ObservedGeneration != 1 {
		t.Errorf("observedGeneration %d: a stall is a verdict", p.Status.ObservedGeneration)
	}
	lab.Update("a", func(p *kerneltest.Probe) { p.Spec.Input = "good" })
	p = lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	if condition(p, meta.StalledCondition).Type != "" {
		t.Error("Stalled is still there after the cure")
	}
}
