package kernel

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
)

// posted is the payload that notification-controller takes.
type posted struct {
	InvolvedObject      corev1.ObjectReference `json:"involvedObject"`
	Severity            string                 `json:"severity"`
	Timestamp           string                 `json:"timestamp"`
	Message             string                 `json:"message"`
	Reason              string                 `json:"reason"`
	Metadata            map[string]string      `json:"metadata,omitempty"`
	ReportingController string                 `json:"reportingController"`
	ReportingInstance   string                 `json:"reportingInstance,omitempty"`
}

const (
	postTimeout  = 5 * time.Second
	postAttempts = 6
)

// poster delivers events over HTTP.
type poster struct {
	url    string
	client *http.Client
	log    logr.Logger
	lines  *lines[*posted]
	// pause is the first delay between attempts; it doubles, so that a receiver may restart.
	pause time.Duration
}

func newPoster(url string, log logr.Logger) *poster {
	p := &poster{
		url: url, log: log, pause: time.Second,
		client: &http.Client{
			Timeout:   postTimeout,
			Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: lineCount, IdleConnTimeout: time.Minute},
			// The address is the operator's; nobody else may send the events elsewhere.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	p.lines = newLines(p.deliver)
	return p
}

// send queues an event; it never blocks.
func (p *poster) send(e *posted) {
	if !p.lines.send(objectKey(e.InvolvedObject), e) {
		eventsDropped.WithLabelValues("not posted: queue full").Inc()
	}
}

// deliver posts an event, again where that may help. 429 is the receiver's word for an event
// that it has seen already.
func (p *poster) deliver(ctx context.Context, e *posted) {
	body, err := json.Marshal(e)
	if err == nil {
		err = retry(ctx, postAttempts, p.pause, func() (again bool, err error) { return p.post(ctx, body) })
	}
	if err == nil {
		return
	}
	eventsDropped.WithLabelValues("not posted").Inc()
	p.log.V(1).Info("event was not delivered", "url", redact(p.url), "kind", e.InvolvedObject.Kind,
		"namespace", e.InvolvedObject.Namespace, "name", e.InvolvedObject.Name, "cause", redact(err.Error()))
}

// post makes one attempt and tells whether another may help.
func (p *poster) post(ctx context.Context, body []byte) (again bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := p.client.Do(req)
	if err != nil {
		return true, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	switch {
	case resp.StatusCode < 300, resp.StatusCode == http.StatusTooManyRequests:
		return false, nil
	default:
		return resp.StatusCode >= 500, fmt.Errorf("the receiver answered %s", resp.Status)
	}
}
