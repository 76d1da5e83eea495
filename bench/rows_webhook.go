package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/test/harness"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

func init() {
	rows = append(rows,
		row{"1,000 webhooks a second, every other with a wrong signature", "not measured", "every answer right; one reconciliation for each push", manyWebhooks},
		row{"git push to the change live, interval 1 h, with a webhook", "not measured", "stage by stage, in milliseconds since the push began", pushToLive},
	)
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

// callers is how many calls are under way at a time.
const callers = 64

// flood makes calls at a rate, every other with a wrong signature, about so many pushes, one after the other. It tells
// how long after each was due its answer came, and how many answers were wrong.
func (c *caller) flood(ctx context.Context, rate, calls, pushes int) (waits []time.Duration, wrong int, err error) {
	began := time.Now()
	var next atomic.Int64
	var mu sync.Mutex
	var working sync.WaitGroup
	for range callers {
		working.Go(func() {
			for {
				i := int(next.Add(1) - 1)
				due := began.Add(time.Duration(i) * time.Second / time.Duration(rate))
				if i >= calls || ctx.Err() != nil {
					return
				}
				time.Sleep(time.Until(due))
				token, want := "s3cret-t0ken", http.StatusOK
				if i%2 == 1 {
					token, want = "another", http.StatusBadRequest
				}
				code, failed := c.push(ctx, token, i*pushes/calls)
				mu.Lock()
				if code != want {
					wrong++
				}
				waits, err = append(waits, time.Since(due)), cmp.Or(err, failed)
				mu.Unlock()
			}
		})
	}
	working.Wait()
	return waits, wrong, err
}

func manyWebhooks(ctx context.Context, w *world) ([]figure, error) {
	const rate, seconds, pushes = 1000, 20, 20
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
	waits, wrong, err := c.flood(ctx, rate, rate*seconds, pushes)
	if err != nil {
		return nil, err
	}
	took := time.Since(began)
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
		{"wrong answers", float64(wrong), 0, "calls", ""},
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
