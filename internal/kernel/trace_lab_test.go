package kernel_test

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kernel/kerneltest"
)

func TestPassesAndJobsAreSpans(t *testing.T) {
	lab := kerneltest.NewLab(t)
	exporter := tracetest.NewInMemoryExporter()
	before := otel.GetTracerProvider()
	otel.SetTracerProvider(trace.NewTracerProvider(trace.WithSyncer(exporter)))
	t.Cleanup(func() { otel.SetTracerProvider(before) })
	stop := lab.Start(&kerneltest.Script{OnReconcile: func(_ context.Context, req *probeRequest) kernel.Outcome {
		if req.Job != nil {
			return kernel.Done("", "fine")
		}
		return kernel.Working(kernel.Job{Key: "k", Run: func(context.Context) (any, error) { return nil, nil }})
	}})
	lab.Create("a")
	lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	spans := map[string]int{}
	for _, s := range exporter.GetSpans() {
		spans[s.Name]++
	}
	if spans["reconcile Probe"] < 2 || spans["job Probe"] != 1 {
		t.Errorf("spans %v", spans)
	}
}

func TestDefaultServiceAccount(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	lab.Create("none")
	lab.Create("own", func(p *probe) { p.Spec.Input = "mine" })
	startWith(lab, func(m *kernel.Manager) kernel.Reconciler[*probe] {
		return &kerneltest.Script{OnReconcile: func(_ context.Context, req *probeRequest) kernel.Outcome {
			return kernel.Done("", "as "+m.ServiceAccount(req.Object.Spec.Input))
		}}
	}, func(s *kernel.Settings) { s.DefaultServiceAccount = "tenant" })
	for name, want := range map[string]string{"none": "as tenant", "own": "as mine"} {
		lab.Until(name, want, func(p *probe) bool { return condition(p, meta.ReadyCondition).Message == want })
	}
}

// An object that is woken for nothing keeps its schedule and its status.
func TestUnchangedKeepsTheSchedule(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	passes := make(chan kernel.Trigger, 64)
	lab.Start(&kerneltest.Script{OnReconcile: func(_ context.Context, req *probeRequest) kernel.Outcome {
		passes <- req.Trigger
		if req.Object.Name == "b" && !req.Trigger.Has(kernel.TriggerInterval|kernel.TriggerSpec) {
			return kernel.Unchanged()
		}
		req.Object.Status.Revision = req.Object.Spec.Input
		return kernel.Done("", "fine")
	}})
	lab.Create("a")
	lab.Create("b", dependsOn("a"))
	lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	before := lab.Ready("b", metav1.ConditionTrue, meta.SucceededReason)
	for len(passes) > 0 {
		<-passes
	}
	lab.Update("a", func(p *probe) { p.Spec.Input = "r2" })
	for trigger := range passes {
		if trigger.Has(kernel.TriggerReference) && !trigger.Has(kernel.TriggerSpec) {
			break // b was woken by a's change
		}
	}
	history := lab.History("b")
	if last := history[len(history)-1]; last.ResourceVersion != before.ResourceVersion {
		t.Errorf("a pass without news wrote the status: %+v", last.Status)
	}
}
