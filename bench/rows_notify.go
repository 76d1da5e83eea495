package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/test/harness"
)

const notificationAPI = "notification.toolkit.fluxcd.io/"

var (
	providers = schema.GroupVersionResource{Group: "notification.toolkit.fluxcd.io", Version: "v1beta3", Resource: "providers"}
	alerts    = schema.GroupVersionResource{Group: "notification.toolkit.fluxcd.io", Version: "v1beta3", Resource: "alerts"}
	receivers = schema.GroupVersionResource{Group: "notification.toolkit.fluxcd.io", Version: "v1", Resource: "receivers"}
	secrets   = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
)

func init() {
	rows = append(rows,
		row{"1,000 events a minute to 20 webhook Providers, of which 3 hang and 2 fail", "serial; not measured", "≤ 1 s at the 99th percentile for the healthy ones, none lost; a dead provider delays no other", manyEvents},
	)
}

// addNotification starts notification-controller.
func (w *world) addNotification(ctx context.Context) (*harness.Process, error) {
	return w.stack.Add(ctx, "notification-controller")
}

func (w *world) put(ctx context.Context, gvr schema.GroupVersionResource, apiVersion, kind, name string, fields map[string]any) error {
	o := object(apiVersion, kind, name, nil)
	for k, v := range fields {
		o.Object[k] = v
	}
	_, err := w.dyn.Resource(gvr).Namespace(namespace).Create(ctx, o, metav1.CreateOptions{})
	return err
}

// ears are services that events are sent to: some hang, some fail, the others note when each event came.
type ears struct {
	servers []*httptest.Server
	release chan struct{}
	sent    sync.Map // by message
	mu      sync.Mutex
	waits   []time.Duration
}

func newEars(all, hang, fail int) *ears {
	e := &ears{release: make(chan struct{})}
	for i := range all {
		e.servers = append(e.servers, httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case i < hang:
				select {
				case <-e.release:
				case <-r.Context().Done():
				}
			case i < hang+fail:
				w.WriteHeader(http.StatusInternalServerError)
			default:
				e.hear(r)
			}
		})))
	}
	return e
}

func (e *ears) hear(r *http.Request) {
	var event struct{ Message string }
	body, _ := io.ReadAll(r.Body)
	if json.Unmarshal(body, &event) != nil {
		return
	}
	if at, ok := e.sent.Load(event.Message); ok {
		e.mu.Lock()
		e.waits = append(e.waits, time.Since(at.(time.Time)))
		e.mu.Unlock()
	}
}

func (e *ears) heard() []time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.waits)
}

func (e *ears) close() {
	close(e.release)
	for _, s := range e.servers {
		s.Close()
	}
}

// percentile of durations, in milliseconds.
func percentile(all []time.Duration, percent int) float64 {
	if len(all) == 0 {
		return -1
	}
	slices.Sort(all)
	return float64(all[(len(all)-1)*percent/100].Microseconds()) / 1000
}

func postEvent(ctx context.Context, url, name, message string) error {
	body, err := json.Marshal(map[string]any{
		"involvedObject": map[string]any{"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "namespace": namespace, "name": name},
		"severity":       "info", "timestamp": time.Now().UTC().Format(time.RFC3339), "message": message, "reason": "ReconciliationSucceeded",
		"reportingController": "kustomize-controller", "metadata": map[string]string{"kustomize.toolkit.fluxcd.io/revision": "main@sha1:" + name},
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("the event server answers %s", resp.Status)
	}
	return nil
}

func manyEvents(ctx context.Context, w *world) ([]figure, error) {
	const events, all, hang, fail = 1000, 20, 3, 2
	ears := newEars(all, hang, fail)
	defer ears.close()
	p, err := w.addNotification(ctx)
	if err != nil {
		return nil, err
	}
	for i, server := range ears.servers {
		name := fmt.Sprint("p", i)
		if err := w.put(ctx, providers, notificationAPI+"v1beta3", "Provider", name, map[string]any{"spec": map[string]any{"type": "generic", "address": server.URL}}); err != nil {
			return nil, err
		}
		if err := w.put(ctx, alerts, notificationAPI+"v1beta3", "Alert", name, map[string]any{"spec": map[string]any{
			"providerRef": map[string]any{"name": name}, "eventSources": []any{map[string]any{"kind": "Kustomization", "name": "*"}},
		}}); err != nil {
			return nil, err
		}
	}
	if err := w.quiet(ctx, p.User); err != nil {
		return nil, err
	}
	before, _ := p.CPU()
	var answers []time.Duration
	tick := time.NewTicker(time.Minute / events)
	defer tick.Stop()
	for i := range events {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
		message, began := fmt.Sprint("event ", i), time.Now()
		ears.sent.Store(message, began)
		if err := postEvent(ctx, p.EventsURL, fmt.Sprint("app", i%100), message); err != nil {
			return nil, err
		}
		answers = append(answers, time.Since(began))
	}
	const want = events * (all - hang - fail)
	for deadline := time.Now().Add(30 * time.Second); len(ears.heard()) < want && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	after, _ := p.CPU()
	memory, _ := p.AnonBytes()
	waits := ears.heard()
	return []figure{
		{"event to a healthy provider, median", percentile(waits, 50), -1, "ms", ""},
		{"event to a healthy provider, 99th percentile", percentile(waits, 99), 1000, "ms", ""},
		{"answer to the controller that posts, 99th percentile", percentile(answers, 99), -1, "ms", ""},
		{"events lost on the way to the healthy", float64(want - len(waits)), 0, "events", ""},
		{"CPU for an event to 20 Providers", (after - before).Seconds() * 1000 / events, -1, "ms", ""},
		{"memory, with the queues of the dead full", float64(memory) / (1 << 20), 120, "MiB", ""},
	}, nil
}
