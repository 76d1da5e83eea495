package kernel_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kernel/kerneltest"
)

// election lets a controller of the lab hold a short lease.
func election(lab *kerneltest.Lab) kernel.Settings {
	s := kernel.Defaults()
	s.RuntimeNamespace, s.LeaderElection = lab.Namespace, true
	s.LeaseDuration, s.RenewDeadline, s.LeaderRetryPeriod = 3*time.Second, 2*time.Second, 200*time.Millisecond
	return s
}

// process runs controllers of these names with a lease each; the first serves probes.
func process(lab *kerneltest.Lab, s *kerneltest.Script, names ...string) *kernel.Process {
	lab.T.Helper()
	p, err := kernel.NewProcess(lab.Config, kernel.ProcessOptions{
		Scheme: kerneltest.Scheme(lab.T), MetricsAddr: "0", HealthAddr: "0", WatchNamespace: lab.Namespace, Log: logr.Discard(),
	})
	if err != nil {
		lab.T.Fatal(err)
	}
	for i, name := range names {
		m := p.Controller(name, election(lab))
		if i > 0 {
			continue
		}
		if err := kernel.Register(m, kerneltest.Kind(), s); err != nil {
			lab.T.Fatal(err)
		}
	}
	return p
}

func leases(t *testing.T, lab *kerneltest.Lab) map[string]coordinationv1.Lease {
	t.Helper()
	list, err := kubernetes.NewForConfigOrDie(lab.Config).CoordinationV1().Leases(lab.Namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]coordinationv1.Lease{}
	for _, l := range list.Items {
		out[strings.TrimSuffix(l.Name, "-leader-election")] = l
	}
	return out
}

// steal makes a lease somebody else's, as after a partition in which it ran out.
func steal(t *testing.T, lab *kerneltest.Lab, controller string) {
	t.Helper()
	patch := []byte(`{"spec":{"holderIdentity":"somebody else"}}`)
	_, err := kubernetes.NewForConfigOrDie(lab.Config).CoordinationV1().Leases(lab.Namespace).
		Patch(t.Context(), kernel.LeaseName(controller, ""), types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLostLeaseStopsWork(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ reason, lost string }{
		{"the lease of the controller that works", "probe-controller"},
		{"one of another controller in the process", "other-controller"},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			lab := kerneltest.NewLab(t)
			running, cancelled, stubborn := make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
			defer close(stubborn)
			p := process(lab, &kerneltest.Script{OnReconcile: func(context.Context, *probeRequest) kernel.Outcome {
				return kernel.Working(kernel.Job{Key: "long", Run: func(ctx context.Context) (any, error) {
					running <- struct{}{}
					<-ctx.Done()
					close(cancelled)
					<-stubborn // does not end in time; the process must not wait for it
					return nil, ctx.Err()
				}})
			}}, "probe-controller", "other-controller")
			ended := make(chan error, 1)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() { ended <- p.Run(ctx) }()
			lab.Create("a")
			<-running
			steal(t, lab, tt.lost)
			<-cancelled
			if err := <-ended; err == nil || !strings.Contains(err.Error(), "leader election lost") {
				t.Errorf("the process ended with %v", err)
			}
			held := leases(t, lab)
			if got := *held[tt.lost].Spec.HolderIdentity; got != "somebody else" {
				t.Errorf("the lease of somebody else is now %q's", got)
			}
		})
	}
}

func TestAllLeasesOfAProcess(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	names := []string{"probe-controller", "one-controller", "two-controller"}
	say := func(who string) *kerneltest.Script {
		return &kerneltest.Script{OnReconcile: func(context.Context, *probeRequest) kernel.Outcome { return kernel.Done("", "by "+who) }}
	}
	stop := lab.Run(process(lab, say("first"), names...))
	lab.Create("a")
	lab.Until("a", "served by the first", func(p *probe) bool { return condition(p, meta.ReadyCondition).Message == "by first" })
	held := leases(t, lab)
	for _, name := range names {
		if l, ok := held[name]; !ok || *l.Spec.HolderIdentity == "" {
			t.Errorf("no lease for %s: %v", name, l.Spec)
		}
	}
	// A process with the same controllers in another order waits, and takes over all of them.
	lab.Run(process(lab, say("second"), names[0], names[2], names[1]))
	lab.Create("b")
	lab.Until("b", "served by the first", func(p *probe) bool { return condition(p, meta.ReadyCondition).Message == "by first" })
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	lab.Create("c")
	lab.Until("c", "served by the second", func(p *probe) bool { return condition(p, meta.ReadyCondition).Message == "by second" })
	for name, l := range leases(t, lab) {
		if was := held[name]; *l.Spec.HolderIdentity == *was.Spec.HolderIdentity {
			t.Errorf("the lease of %s still names the first", name)
		}
	}
}

// What a killed process leaves behind runs out, and the next one takes all of it.
func TestLeasesOfACrashedProcess(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	names := []string{"probe-controller", "one-controller", "two-controller"}
	stop := lab.Run(process(lab, &kerneltest.Script{}, names...))
	lab.Create("a")
	lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		steal(t, lab, name)
	}
	lab.Run(process(lab, &kerneltest.Script{}, names...))
	lab.Create("b")
	lab.Ready("b", metav1.ConditionTrue, meta.SucceededReason)
	for name, l := range leases(t, lab) {
		if *l.Spec.HolderIdentity == "somebody else" {
			t.Errorf("the lease of %s was not taken over", name)
		}
	}
}
