package kernel_test

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kernel/kerneltest"
)

// A referent that changes while a job runs, which may have read it already, is looked at again after the verdict.
func TestReferentThatChangesDuringAJob(t *testing.T) {
	t.Parallel()
	lab, j := kerneltest.NewLab(t), newJobs()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Name: "token", Namespace: lab.Namespace, Labels: map[string]string{meta.WatchLabel: "Enabled"},
	}}
	if err := lab.Client.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	woken := make(chan struct{}, 16)
	lab.Start(&kerneltest.Script{OnReconcile: func(ctx context.Context, req *probeRequest) kernel.Outcome {
		o := j.reconcile(ctx, req)
		if req.Running != "" && req.Trigger.Has(kernel.TriggerReference) {
			woken <- struct{}{}
		}
		return o
	}})
	lab.Create("a", func(p *probe) { p.Spec.Input, p.Spec.Secrets = "x", []string{"token"} })
	one := j.next(t)
	secret.StringData = map[string]string{"token": "new"}
	if err := lab.Client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	select {
	case <-woken:
	case <-time.After(kerneltest.Limit):
		t.Fatal("a labelled Secret wakes nobody while a job runs")
	}
	one.end <- "old"
	j.next(t).end <- "new"
	lab.Until("a", "aware of the new Secret", func(p *probe) bool { return p.Status.Revision == "new" })
}
