package kernel_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kernel/kerneltest"
)

// receiver is a notification-controller that notes what it gets.
type receiver struct {
	*httptest.Server
	got chan map[string]any
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{got: make(chan map[string]any, 64)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var body map[string]any
		if err := json.NewDecoder(req.Body).Decode(&body); err != nil || req.Header.Get("Content-Type") != "application/json" {
			t.Errorf("request with content type %q: %v", req.Header.Get("Content-Type"), err)
		}
		r.got <- body
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) next(t *testing.T) map[string]any {
	t.Helper()
	select {
	case e := <-r.got:
		return e
	case <-time.After(kerneltest.Limit):
		t.Fatal("no event was posted")
		return nil
	}
}

func TestEventsAreRecordedAndPosted(t *testing.T) {
	t.Parallel()
	lab, r := kerneltest.NewLab(t), newReceiver(t)
	lab.Start(&kerneltest.Script{OnReconcile: func(_ context.Context, req *probeRequest) kernel.Outcome {
		revision := map[string]string{"revision": "main@sha1:1"}
		if req.Object.Spec.Input == "bad" {
			return kernel.Failed(meta.BuildFailedReason, errors.New("cannot fetch https://me:hunter2@git.example/x")).WithMetadata(revision)
		}
		return kernel.Done(meta.ReconciliationSucceededReason, "Applied revision: main@sha1:1").WithEvents(
			kernel.Trace("ArtifactUpToDate", "nothing new", nil),
			kernel.Normal("", "Reconciliation finished", revision))
	}}, func(s *kernel.Settings) { s.EventsAddr = r.URL })
	lab.Create("a", func(p *probe) { p.Annotations = map[string]string{"event.toolkit.fluxcd.io/commit": "abc"} })

	e := r.next(t)
	ref, _ := e["involvedObject"].(map[string]any)
	p := lab.Ready("a", metav1.ConditionTrue, meta.ReconciliationSucceededReason)
	if ref["kind"] != "Probe" || ref["name"] != "a" || ref["namespace"] != lab.Namespace || ref["uid"] != string(p.UID) ||
		ref["apiVersion"] != "kernel.test.gitops-toolkit.dev/v1" || ref["resourceVersion"] == "" {
		t.Errorf("involvedObject %v", ref)
	}
	if e["severity"] != "info" || e["reason"] != meta.ReconciliationSucceededReason || e["message"] != "Reconciliation finished" ||
		e["reportingController"] != "probe-controller" || e["reportingInstance"] == "" {
		t.Errorf("event %v", e)
	}
	metadata, _ := e["metadata"].(map[string]any)
	if metadata["kernel.test.gitops-toolkit.dev/revision"] != "main@sha1:1" || metadata["event.toolkit.fluxcd.io/commit"] != "abc" {
		t.Errorf("metadata %v", metadata)
	}

	lab.Update("a", func(p *probe) { p.Spec.Input = "bad" })
	e = r.next(t)
	if e["severity"] != "error" || e["reason"] != meta.BuildFailedReason || strings.Contains(e["message"].(string), "hunter2") {
		t.Errorf("event %v", e)
	}
	if c := condition(lab.Ready("a", metav1.ConditionFalse, meta.BuildFailedReason), meta.ReadyCondition); strings.Contains(c.Message, "hunter2") {
		t.Errorf("a password is in the condition: %q", c.Message)
	}
	recorded := recordedEvents(t, lab, 3)
	for reason, kind := range map[string]string{"ArtifactUpToDate": "Normal", meta.ReconciliationSucceededReason: "Normal", meta.BuildFailedReason: "Warning"} {
		if recorded[reason].Type != kind {
			t.Errorf("recorded event %s is %q, want %q", reason, recorded[reason].Type, kind)
		}
	}
	if got := recorded[meta.BuildFailedReason]; got.Annotations["kernel.test.gitops-toolkit.dev/revision"] != "main@sha1:1" || got.Source.Component != "probe-controller" {
		t.Errorf("recorded event %+v", got)
	}
}

// recordedEvents waits for n Kubernetes Events of the lab and returns them by reason.
func recordedEvents(t *testing.T, lab *kerneltest.Lab, n int) map[string]corev1.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), kerneltest.Limit)
	defer cancel()
	out := map[string]corev1.Event{}
	w, err := lab.Client.Watch(ctx, &corev1.EventList{}, client.InNamespace(lab.Namespace))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for ev := range w.ResultChan() {
		if e, ok := ev.Object.(*corev1.Event); ok && e.InvolvedObject.Kind == "Probe" {
			out[e.Reason] = *e
		}
		if len(out) >= n {
			return out
		}
	}
	t.Fatalf("%d events were recorded, want %d: %v", len(out), n, out)
	return nil
}

func TestFinishEventComesOnlyWithNews(t *testing.T) {
	t.Parallel()
	for _, periodic := range []bool{false, true} {
		lab, r := kerneltest.NewLab(t), newReceiver(t)
		var mu sync.Mutex
		passes := 0
		enough := make(chan struct{})
		lab.Start(&kerneltest.Script{OnReconcile: func(context.Context, *probeRequest) kernel.Outcome {
			mu.Lock()
			defer mu.Unlock()
			if passes++; passes == 5 {
				close(enough)
			}
			finish := kernel.Normal("", "finished", nil)
			finish.OnChange = true
			return kernel.Done("", "same").WithEvents(finish)
		}}, func(s *kernel.Settings) {
			s.EventsAddr, s.Gates = r.URL, map[string]bool{kernel.GatePeriodicEvents: periodic}
		})
		lab.Create("a", func(p *probe) { p.Spec.Interval = meta.NewDuration(50 * time.Millisecond) })
		<-enough
		r.next(t) // the first verdict is news
		if periodic {
			r.next(t)
			r.next(t)
			continue
		}
		if n := len(r.got); n != 0 {
			t.Errorf("%d events for intervals that found nothing", n)
		}
		lab.Request("a", "t1")
		r.next(t) // a request is answered with an event
	}
}
