package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/test/harness"
	"github.com/gitops-toolkit/flux/test/servers/git"
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
		row{"1,000 webhooks a second, every other with a wrong signature", "not measured", "every answer right; one reconciliation for each push", manyWebhooks},
		row{"git push to the change live, interval 1 h, with a webhook", "not measured", "stage by stage, in milliseconds since the push began", pushToLive},
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

// receiver makes a Receiver with a token for GitHub's calls and returns its address.
func (w *world) receiver(ctx context.Context, p *harness.Process, token string) (string, error) {
	if err := w.put(ctx, secrets, "v1", "Secret", "hook", map[string]any{"stringData": map[string]any{"token": token}}); err != nil {
		return "", err
	}
	if err := w.put(ctx, receivers, notificationAPI+"v1", "Receiver", "hook", map[string]any{"spec": map[string]any{
		"type": "github", "events": []any{"push"}, "secretRef": map[string]any{"name": "hook"},
		"resources": []any{map[string]any{"kind": "GitRepository", "name": "bench"}},
	}}); err != nil {
		return "", err
	}
	var path string
	err := w.watch(ctx, receivers, func(o *unstructured.Unstructured) bool {
		path, _, _ = unstructured.NestedString(o.Object, "status", "webhookPath")
		return path != "" && conditionStatus(o, "Ready") == "True"
	})
	return p.HooksURL + path, err
}

// caller calls a webhook as GitHub does.
type caller struct {
	client *http.Client
	url    string
}

func (c *caller) push(ctx context.Context, token string, n int) (code int, err error) {
	body := fmt.Sprintf(`{"ref":"refs/heads/main","after":"%040d","repository":{"clone_url":"https://git.example.com/org/repo"},"commits":[]}`, n)
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte(body))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-GitHub-Event", "push")
	req.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode, nil
}

func manyWebhooks(ctx context.Context, w *world) ([]figure, error) {
	const rate, seconds, pushes, callers = 1000, 20, 20, 64
	if err := w.createSource(ctx, "1h"); err != nil {
		return nil, err
	}
	p, err := w.addNotification(ctx)
	if err != nil {
		return nil, err
	}
	url, err := w.receiver(ctx, p, "s3cret-t0ken")
	if err != nil {
		return nil, err
	}
	c := &caller{&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: callers}}, url}
	for code := 0; code != http.StatusOK; { // until the path is known
		if code, err = c.push(ctx, "s3cret-t0ken", -1); err != nil {
			return nil, err
		}
	}
	if err := w.quiet(ctx, p.User); err != nil {
		return nil, err
	}
	mark := *w.audit
	if _, err := mark.Since(); err != nil {
		return nil, err
	}
	before, _ := p.CPU()
	began := time.Now()
	var next, wrong atomic.Int64
	var mu sync.Mutex
	var waits []time.Duration
	var errs error
	var working sync.WaitGroup
	for range callers {
		working.Go(func() {
			for {
				i := next.Add(1) - 1
				due := began.Add(time.Duration(i) * time.Second / rate)
				if i >= rate*seconds || ctx.Err() != nil {
					return
				}
				time.Sleep(time.Until(due))
				token, want := "s3cret-t0ken", http.StatusOK
				if i%2 == 1 {
					token, want = "another", http.StatusBadRequest
				}
				code, err := c.push(ctx, token, int(i)*pushes/(rate*seconds))
				if code != want {
					wrong.Add(1)
				}
				mu.Lock()
				waits, errs = append(waits, time.Since(due)), cmp.Or(errs, err)
				mu.Unlock()
			}
		})
	}
	working.Wait()
	took := time.Since(began)
	if errs != nil {
		return nil, errs
	}
	after, _ := p.CPU()
	memory, _ := p.AnonBytes()
	reqs, err := mark.Since(p.User)
	if err != nil {
		return nil, err
	}
	asked := 0
	for _, r := range reqs {
		if r.Verb == "patch" && r.Resource == "gitrepositories" {
			asked++
		}
	}
	calls := float64(len(waits))
	return []figure{
		{"calls a second", calls / took.Seconds(), -1, "calls", ""},
		{"wrong answers", float64(wrong.Load()), 0, "calls", ""},
		{"reconciliations asked for, by 20 pushes", float64(asked), pushes, "requests", harness.Summary(reqs)},
		{"answer, median", percentile(waits, 50), -1, "ms", "from when the call was due"},
		{"answer, 99th percentile", percentile(waits, 99), -1, "ms", ""},
		{"CPU for a call", (after - before).Seconds() * 1000 / calls, -1, "ms", ""},
		{"memory", float64(memory) / (1 << 20), 120, "MiB", ""},
	}, nil
}

func pushToLive(ctx context.Context, w *world) ([]figure, error) {
	p, err := w.addNotification(ctx)
	if err != nil {
		return nil, err
	}
	revision, err := w.commit(app("app", ""))
	if err != nil {
		return nil, err
	}
	if err := w.createSource(ctx, "1h"); err != nil {
		return nil, err
	}
	if err := w.createApp(ctx, "bench", "app", "1h"); err != nil {
		return nil, err
	}
	if _, err := w.awaitApplied(ctx, 1, revision); err != nil {
		return nil, err
	}
	url, err := w.receiver(ctx, p, "s3cret-t0ken")
	if err != nil {
		return nil, err
	}
	if err := w.repo.AddWebhook(url, "s3cret-t0ken"); err != nil {
		return nil, err
	}
	work, err := git.Clone(w.git.HTTPURL("bench"), filepath.Join(w.dir, "work"))
	if err != nil {
		return nil, err
	}
	const times = 5
	var stages []harness.Stage
	var sums []time.Duration
	var pushing time.Duration
	for i := range times {
		value := fmt.Sprint("value", i)
		commit, err := work.Commit(app("app", value), value)
		if err != nil {
			return nil, err
		}
		stages = harness.PushStages(namespace, "bench", "main@sha1:"+commit, "app-0", "key", value)
		follow, err := harness.FollowStages(ctx, w.dyn, stages...)
		if err != nil {
			return nil, err
		}
		began := time.Now()
		if err := work.Push(); err != nil {
			return nil, err
		}
		pushing += time.Since(began)
		seen, err := follow.Since(ctx, began)
		if err != nil {
			return nil, errors.Join(err, errors.New(p.Tail(5)))
		}
		if sums == nil {
			sums = make([]time.Duration, len(seen))
		}
		for j := range seen {
			sums[j] += seen[j]
		}
	}
	mean := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 / times }
	figures := []figure{{"git push has ended", mean(pushing), -1, "ms", fmt.Sprintf("mean of %d", times)}}
	for i, s := range stages {
		figures = append(figures, figure{s.What, mean(sums[i]), -1, "ms", ""})
	}
	return figures, nil
}
