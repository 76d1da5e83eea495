package kernel_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kernel/kerneltest"
)

type (
	probeRequest = kernel.Request[*kerneltest.Probe]
	probe        = kerneltest.Probe
)

// jobs is a kind whose every attempt is one job that a test steers.
type jobs struct {
	// started tells of each job: its number, and the cause when its context is cancelled.
	started chan *job
}

type job struct {
	key   string
	ctx   context.Context
	req   *probeRequest
	end   chan any // what the job returns; an error makes it fail
	ended chan struct{}
}

func newJobs() *jobs { return &jobs{started: make(chan *job, 16)} }

func (j *jobs) reconcile(_ context.Context, req *probeRequest) kernel.Outcome {
	key := req.Object.Spec.Input
	if r := req.Job; r != nil && !r.Superseded {
		if r.Err != nil {
			return kernel.Failed("JobFailed", r.Err)
		}
		req.Object.Status.Revision, _ = r.Value.(string)
		return kernel.Done("", "job done: "+r.Key)
	}
	req.Progress(kernel.Progress{Message: "working on " + key, Ready: "Reconciliation in progress"})
	return kernel.Working(kernel.Job{Key: key, Timeout: req.Object.GetTimeout(), Run: func(ctx context.Context) (any, error) {
		one := &job{key: key, ctx: ctx, req: req, end: make(chan any, 1), ended: make(chan struct{})}
		defer close(one.ended)
		j.started <- one
		select {
		case v := <-one.end:
			if err, failed := v.(error); failed {
				return nil, err
			}
			return v, nil
		case <-ctx.Done():
			return "partial", context.Cause(ctx)
		}
	}})
}

func (j *jobs) next(t *testing.T) *job {
	t.Helper()
	select {
	case one := <-j.started:
		return one
	case <-time.After(kerneltest.Limit):
		t.Fatal("no job was started")
		return nil
	}
}

// cancelled waits for the end of a job's context and returns the cause.
func (j *job) cancelled(t *testing.T) error {
	t.Helper()
	select {
	case <-j.ctx.Done():
		return context.Cause(j.ctx)
	case <-time.After(kerneltest.Limit):
		t.Fatal("the job was not cancelled")
		return nil
	}
}

// truthful fails the test if a state of the probe shows a generation or request as handled
// before its verdict.
func truthful(t *testing.T, lab *kerneltest.Lab, name string) {
	t.Helper()
	var handled string
	observed := int64(-1)
	for i, p := range lab.History(name) {
		if p == nil {
			continue
		}
		moved := p.Status.LastHandledReconcileAt != handled || p.Status.ObservedGeneration != observed && p.Status.ObservedGeneration != -1
		handled, observed = p.Status.LastHandledReconcileAt, p.Status.ObservedGeneration
		working := condition(p, meta.ReconcilingCondition).Reason == meta.ProgressingReason
		if moved && (working || condition(p, meta.ReadyCondition).Status == metav1.ConditionUnknown) && !p.Spec.Suspend {
			t.Errorf("state %d of %s is handled but still under way: %+v", i, name, p.Status)
		}
	}
}

func TestJobRunsBesideTheWorker(t *testing.T) {
	t.Parallel()
	lab, j := kerneltest.NewLab(t), newJobs()
	lab.Start(&kerneltest.Script{OnReconcile: j.reconcile}, func(s *kernel.Settings) { s.Concurrent = 1 })
	lab.Create("a", func(p *probe) { p.Spec.Input = "x" })
	lab.Create("b", func(p *probe) { p.Spec.Input = "y" })
	one, two := j.next(t), j.next(t) // both run although there is one worker
	one.end <- "r-" + one.key
	two.end <- "r-" + two.key
	a, b := lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason), lab.Ready("b", metav1.ConditionTrue, meta.SucceededReason)
	if a.Status.Revision != "r-x" || b.Status.Revision != "r-y" {
		t.Errorf("revisions %q and %q", a.Status.Revision, b.Status.Revision)
	}
	if n := len(lab.History("a")); n > 3 {
		t.Errorf("quick work left %d states, want 3: created, finalizer, verdict", n)
	}
}

func TestProgressIsWrittenWhenWorkLasts(t *testing.T) {
	t.Parallel()
	lab, j := kerneltest.NewLab(t), newJobs()
	lab.Start(&kerneltest.Script{OnReconcile: j.reconcile})
	lab.Create("a", func(p *probe) { p.Spec.Input = "slow" })
	one := j.next(t)
	p := lab.Until("a", "in progress", func(p *probe) bool { return condition(p, meta.ReconcilingCondition).Type != "" })
	if c := condition(p, meta.ReadyCondition); c.Status != metav1.ConditionUnknown || c.Message != "Reconciliation in progress" {
		t.Errorf("Ready %+v", c)
	}
	if c := condition(p, meta.ReconcilingCondition); c.Reason != meta.ProgressingReason || c.Message != "working on slow" {
		t.Errorf("Reconciling %+v", c)
	}
	one.req.Progress(kernel.Progress{Message: "health"})
	lab.Until("a", "checking health", func(p *probe) bool { return condition(p, meta.ReconcilingCondition).Message == "health" })
	one.end <- "r1"
	lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	truthful(t, lab, "a")
}

func TestCheckpointIsStoredBeforeTheVerdict(t *testing.T) {
	t.Parallel()
	lab, j := kerneltest.NewLab(t), newJobs()
	lab.Start(&kerneltest.Script{OnReconcile: j.reconcile})
	lab.Create("a", func(p *probe) { p.Spec.Input = "x" })
	one := j.next(t)
	if err := one.req.Checkpoint(t.Context(), func(p *probe) {
		p.Status.Inventory = []string{"old", "new"}
		p.Status.ObservedGeneration = 99 // the kernel's, not the kind's
	}); err != nil {
		t.Fatal(err)
	}
	p := lab.Until("a", "checkpointed", func(p *probe) bool { return len(p.Status.Inventory) == 2 })
	if p.Status.ObservedGeneration != -1 || condition(p, meta.ReadyCondition).Status != metav1.ConditionUnknown {
		t.Errorf("a checkpoint must not look like a verdict: %+v", p.Status)
	}
	one.end <- "r1"
	p = lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	if len(p.Status.Inventory) != 2 {
		t.Errorf("the verdict lost the checkpoint: %+v", p.Status)
	}
	truthful(t, lab, "a")
}

// A job holds the object as it was when the job began. What others and we wrote since is in the cache.
func TestCheckpointsOfALongJobReadNothing(t *testing.T) {
	t.Parallel()
	lab, j := kerneltest.NewLab(t), newJobs()
	counted, passes := count(lab), make(chan string, 100)
	lab.Start(&kerneltest.Script{OnReconcile: func(ctx context.Context, req *probeRequest) kernel.Outcome {
		passes <- req.Object.Annotations[meta.ReconcileRequestAnnotation]
		return j.reconcile(ctx, req)
	}})
	lab.Create("a", func(p *probe) { p.Spec.Input = "x" })
	one := j.next(t)
	for i, token := range []string{"first", "second", "third"} {
		if err := one.req.Checkpoint(t.Context(), func(p *probe) { p.Status.Inventory = make([]string, i+1) }); err != nil {
			t.Fatal(err)
		}
		lab.Request("a", token)
		for seen := ""; seen != token; seen = <-passes {
		}
	}
	one.end <- "r1"
	lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	reads, writes := counted.taken()
	for _, read := range reads {
		if strings.Contains(read, "/probes/a") {
			t.Errorf("read %s; writes were:\n%s", read, strings.Join(writes, "\n"))
		}
	}
}

func TestSpecChangeSupersedes(t *testing.T) {
	t.Parallel()
	lab, j := kerneltest.NewLab(t), newJobs()
	lab.Start(&kerneltest.Script{OnReconcile: j.reconcile})
	lab.Create("a", func(p *probe) { p.Spec.Input = "bad" })
	one := j.next(t)
	lab.Update("a", func(p *probe) { p.Spec.Input = "fix" })
	if err := one.cancelled(t); !errors.Is(err, kernel.ErrSuperseded) {
		t.Errorf("cause %v", err)
	}
	two := j.next(t)
	select {
	case <-one.ended:
	default:
		t.Error("the second job started before the first had ended")
	}
	two.end <- "r2"
	p := lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	if p.Status.Revision != "r2" || condition(p, meta.ReadyCondition).Message != "job done: fix" {
		t.Errorf("status %+v", p.Status)
	}
	for _, p := range lab.History("a") {
		if condition(p, meta.ReadyCondition).Status == metav1.ConditionFalse {
			t.Errorf("a superseded job counted as a failure: %+v", p.Status)
		}
	}
	truthful(t, lab, "a")
}

func TestRequestNeitherCancelsNorRestarts(t *testing.T) {
	t.Parallel()
	lab, j := kerneltest.NewLab(t), newJobs()
	lab.Start(&kerneltest.Script{OnReconcile: j.reconcile})
	lab.Create("a", func(p *probe) { p.Spec.Input = "x" })
	one := j.next(t)
	lab.Request("a", "now")
	// The pass that the request causes is over when a later one has been seen.
	lab.Until("a", "asked", func(p *probe) bool { return p.Annotations[meta.ReconcileRequestAnnotation] == "now" })
	one.end <- "r1"
	two := j.next(t) // the request runs the full pass
	if one.ctx.Err() != nil && !errors.Is(context.Cause(one.ctx), context.Canceled) {
		t.Errorf("the request cancelled the job: %v", context.Cause(one.ctx))
	}
	if p := lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason); p.Status.LastHandledReconcileAt != "" {
		t.Error("the request was answered by a job that had started before it")
	}
	two.end <- "r2"
	lab.Until("a", "answered", func(p *probe) bool { return p.Status.LastHandledReconcileAt == "now" && p.Status.Revision == "r2" })
	truthful(t, lab, "a")
}

func TestSuspendEndsWork(t *testing.T) {
	t.Parallel()
	lab, j := kerneltest.NewLab(t), newJobs()
	lab.Start(&kerneltest.Script{OnReconcile: j.reconcile})
	lab.Create("a", func(p *probe) { p.Spec.Input = "x" })
	one := j.next(t)
	lab.Update("a", func(p *probe) { p.Spec.Suspend = true })
	if err := one.cancelled(t); !errors.Is(err, kernel.ErrSuperseded) {
		t.Errorf("cause %v", err)
	}
	lab.Request("a", "t1")
	p := lab.Until("a", "answered while suspended", func(p *probe) bool { return p.Status.LastHandledReconcileAt == "t1" })
	if p.Status.ObservedGeneration == p.Generation {
		t.Error("a suspended object got a verdict")
	}
	lab.Update("a", func(p *probe) { p.Spec.Suspend = false })
	j.next(t).end <- "r2"
	lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
}

func TestDeletionEndsWorkThenCleansUp(t *testing.T) {
	t.Parallel()
	lab, j := kerneltest.NewLab(t), newJobs()
	finalized := make(chan *kernel.JobResult, 8)
	lab.Start(&kerneltest.Script{OnReconcile: j.reconcile, OnFinalize: func(_ context.Context, req *probeRequest) kernel.Outcome {
		if req.Job != nil && req.Job.Key == "clean" {
			return kernel.Done("", "")
		}
		finalized <- req.Job
		return kernel.Working(kernel.Job{Key: "clean", Run: func(context.Context) (any, error) { return nil, nil }})
	}})
	lab.Create("a", func(p *probe) { p.Spec.Input = "x" })
	one := j.next(t)
	lab.Delete("a")
	if err := one.cancelled(t); !errors.Is(err, kernel.ErrSuperseded) {
		t.Errorf("cause %v", err)
	}
	select {
	case result := <-finalized:
		if result == nil || !result.Superseded || result.Value != "partial" {
			t.Errorf("the clean-up does not know what the cancelled job had done: %+v", result)
		}
	case <-time.After(kerneltest.Limit):
		t.Fatal("Finalize was not called")
	}
	lab.Gone("a")
}

func TestJobTimeoutAndFailure(t *testing.T) {
	t.Parallel()
	lab, j := kerneltest.NewLab(t), newJobs()
	lab.Start(&kerneltest.Script{OnReconcile: j.reconcile})
	lab.Create("a", func(p *probe) { p.Spec.Input, p.Spec.Timeout = "x", meta.DurationPtr(200*time.Millisecond) })
	if err := j.next(t).cancelled(t); !errors.Is(err, kernel.ErrJobTimeout) {
		t.Errorf("cause %v", err)
	}
	p := lab.Ready("a", metav1.ConditionFalse, "JobFailed")
	if c := condition(p, meta.ReadyCondition); c.Message != kernel.ErrJobTimeout.Error() {
		t.Errorf("message %q", c.Message)
	}
}

func TestGracefulStopWaitsForJobs(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	running, saw := make(chan struct{}), make(chan error, 1)
	stop := lab.Start(&kerneltest.Script{OnReconcile: func(_ context.Context, req *probeRequest) kernel.Outcome {
		return kernel.Working(kernel.Job{Key: "k", Run: func(ctx context.Context) (any, error) {
			close(running)
			<-ctx.Done()
			saw <- context.Cause(ctx)
			return nil, nil
		}})
	}})
	lab.Create("a")
	<-running
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	select {
	case err := <-saw:
		if errors.Is(err, kernel.ErrSuperseded) {
			t.Error("a stop is no supersession")
		}
	default:
		t.Error("the process ended before its job")
	}
}

// A burst of changes leaves one job at a time and the last desire wins.
func TestNewestDesireWins(t *testing.T) {
	t.Parallel()
	lab, j := kerneltest.NewLab(t), newJobs()
	lab.Start(&kerneltest.Script{OnReconcile: j.reconcile})
	lab.Create("a", func(p *probe) { p.Spec.Input = "0" })
	for i := 1; i <= 5; i++ {
		lab.Update("a", func(p *probe) { p.Spec.Input = strconv.Itoa(i) })
	}
	for {
		one := j.next(t)
		if one.key == "5" {
			one.end <- "r5"
			break
		}
		_ = one.cancelled(t)
	}
	p := lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	if p.Status.Revision != "r5" {
		t.Errorf("revision %q", p.Status.Revision)
	}
}

// A host that never answers keeps its own objects waiting, and no others.
func TestHangingJobsDoNotStopOthers(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	hanging := make(chan struct{}, 10)
	lab.Start(&kerneltest.Script{OnReconcile: func(_ context.Context, req *probeRequest) kernel.Outcome {
		host := req.Object.Spec.Input
		if req.Job != nil && !req.Job.Superseded {
			return kernel.Done("", host)
		}
		return kernel.Working(kernel.Job{Key: host, Lane: host, Run: func(ctx context.Context) (any, error) {
			if host == "dead" {
				hanging <- struct{}{}
				<-ctx.Done()
			}
			return nil, ctx.Err()
		}})
	}}, func(s *kernel.Settings) { s.Concurrent = 1 })
	for _, name := range []string{"a", "b", "c", "d"} {
		lab.Create(name, func(p *probe) { p.Spec.Input = "dead" })
	}
	<-hanging
	<-hanging
	lab.Create("healthy", func(p *probe) { p.Spec.Input = "alive" })
	lab.Ready("healthy", metav1.ConditionTrue, meta.SucceededReason)
}
