package kernel_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kernel/kerneltest"
)

// requests counts what a controller asks of the API server.
type requests struct {
	mu     sync.Mutex
	reads  []string
	writes []string
}

// count lets controllers that start from now on be counted.
func count(lab *kerneltest.Lab) *requests {
	r := &requests{}
	lab.Config = rest.CopyConfig(lab.Config)
	lab.Config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counting{r, next} })
	return r
}

type counting struct {
	*requests
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (c counting) RoundTrip(req *http.Request) (*http.Response, error) {
	c.mu.Lock()
	line := req.Method + " " + req.URL.RequestURI()
	if req.Method == http.MethodGet {
		c.reads = append(c.reads, line)
	} else {
		c.writes = append(c.writes, line)
	}
	c.mu.Unlock()
	return c.next.RoundTrip(req)
}

// taken returns what was counted since the last call.
func (r *requests) taken() (reads, writes []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	reads, writes, r.reads, r.writes = r.reads, r.writes, nil, nil
	return reads, writes
}

// After a restart every object is looked at once, from the first lists.
func TestRestartOnlyLists(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	const n = 200
	stop := lab.Start(&kerneltest.Script{})
	for i := range n {
		lab.Create(fmt.Sprintf("p%d", i), func(p *probe) {
			if i > 0 {
				p.Spec.DependsOn = []meta.NamespacedObjectReference{{Name: fmt.Sprintf("p%d", (i-1)/2)}}
			}
		})
	}
	for i := range n {
		lab.Ready(fmt.Sprintf("p%d", i), metav1.ConditionTrue, meta.SucceededReason)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	counted := count(lab)
	var mu sync.Mutex
	passes, all := map[string]int{}, make(chan struct{})
	stop = lab.Start(&kerneltest.Script{OnReconcile: func(_ context.Context, req *probeRequest) kernel.Outcome {
		mu.Lock()
		defer mu.Unlock()
		if passes[req.Object.Name]++; len(passes) == n && passes[req.Object.Name] == 1 {
			close(all)
		}
		if req.Trigger.Has(kernel.TriggerSpec | kernel.TriggerRequested | kernel.TriggerReference) {
			t.Errorf("%s is looked at because of %b", req.Object.Name, req.Trigger)
		}
		return kernel.Done(meta.SucceededReason, "done")
	}})
	<-all
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	reads, writes := counted.taken()
	if len(writes) != 0 {
		t.Errorf("written after a restart: %s", strings.Join(writes, "\n"))
	}
	if len(reads) > 6 {
		t.Errorf("%d reads for one kind: %s", len(reads), strings.Join(reads, "\n"))
	}
	for name, times := range passes {
		if times != 1 {
			t.Errorf("%s was looked at %d times", name, times)
		}
	}
}

func TestIntervalsWithoutNewsAreSilent(t *testing.T) {
	t.Parallel()
	lab := kerneltest.NewLab(t)
	counted := count(lab)
	passes := make(chan struct{}, 1000)
	stop := lab.Start(&kerneltest.Script{OnReconcile: func(context.Context, *probeRequest) kernel.Outcome {
		passes <- struct{}{}
		finish := kernel.Normal("", "finished", nil)
		finish.OnChange = true
		return kernel.Done("", "same").WithEvents(finish)
	}})
	lab.Create("a", func(p *probe) { p.Spec.Interval = meta.NewDuration(20 * time.Millisecond) })
	lab.Ready("a", metav1.ConditionTrue, meta.SucceededReason)
	recordedEvents(t, lab, 1)
	counted.taken()
	for range 20 {
		<-passes
	}
	if err := stop(); err != nil { // events that wait are delivered
		t.Fatal(err)
	}
	if reads, writes := counted.taken(); len(reads)+len(writes) != 0 {
		t.Errorf("unchanged intervals ask for %v %v", reads, writes)
	}
}
