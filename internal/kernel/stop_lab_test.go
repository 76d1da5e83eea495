package kernel_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kernel/kerneltest"
)

// stopping stops the controller while the answer to a verdict is on its way: the server has stored
// it, and the controller does not know yet.
type stopping struct {
	next http.RoundTripper
	once *sync.Once
	stop func()
}

// RoundTrip implements http.RoundTripper.
func (s stopping) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := s.next.RoundTrip(req)
	if err == nil && req.Method == http.MethodPatch && strings.HasSuffix(req.URL.Path, "/status") {
		s.once.Do(s.stop)
		if req.Context().Err() != nil { // what http.Transport does with a request that is given up
			resp.Body.Close()
			return nil, req.Context().Err()
		}
	}
	return resp, err
}

// A verdict that was stored gets its event, even when the process is told to stop at that moment.
func TestStopAfterTheVerdictWasStored(t *testing.T) {
	t.Parallel()
	lab, r := kerneltest.NewLab(t), newReceiver(t)
	told, stopped := make(chan struct{}), make(chan struct{})
	var once sync.Once
	lab.Config = rest.CopyConfig(lab.Config)
	lab.Config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return stopping{next: next, once: &once, stop: func() { close(told); <-stopped }}
	})
	passes := make(chan context.Context, 1)
	stop := lab.Start(&kerneltest.Script{OnReconcile: func(ctx context.Context, _ *probeRequest) kernel.Outcome {
		select {
		case passes <- ctx:
		default:
		}
		return kernel.Done(meta.SucceededReason, "done").WithEvents(kernel.Normal("", "finished", nil))
	}}, func(s *kernel.Settings) { s.EventsAddr = r.URL })
	lab.Create("a")
	pass := <-passes
	<-told
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	<-pass.Done() // the stop has reached the pass
	close(stopped)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	if e := r.next(t); e["message"] != "finished" {
		t.Errorf("event %v", e)
	}
}

// Fields that the kind gives to its progress are seen with it.
func TestProgressCarriesFields(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	begun, end := make(chan struct{}), make(chan struct{})
	lab.Start(&kerneltest.Script{OnReconcile: func(_ context.Context, req *probeRequest) kernel.Outcome {
		if req.Job != nil {
			return kernel.Done(meta.SucceededReason, "done")
		}
		return kernel.Working(kernel.Job{Key: "k", Run: func(context.Context) (any, error) {
			req.Progress(kernel.Progress{Message: "working", Ready: "in progress", Change: func(o meta.Object) {
				o.(*probe).Status.Revision = "attempted"
			}})
			close(begun)
			<-end
			return nil, nil
		}})
	}})
	lab.Create("a")
	<-begun
	p := lab.Until("a", "at work", func(p *probe) bool { return p.Status.Revision == "attempted" })
	if c := condition(p, meta.ReadyCondition); c.Status != metav1.ConditionUnknown {
		t.Errorf("Ready is %s while the work goes on", c.Status)
	}
	close(end)
	lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
}
