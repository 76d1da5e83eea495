package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/gitops-toolkit/flux/internal/retryafter"
)

// guard is the innermost layer of what sends a repository's requests: it repeats them, bounds the answers, and refuses
// to send credentials without TLS. That they stay with the host that they are for is the library's care.
type guard struct {
	inner http.RoundTripper
	opts  Options
	// plain allows a login to travel without TLS.
	plain bool
}

// RoundTrip sends a request.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !g.plain && req.Header.Get("Authorization") != "" {
		return nil, fmt.Errorf("%w to '%s': use a registry with TLS, or allow it with `insecure`", ErrPlain, req.URL.Host)
	}
	for attempt := 0; ; attempt++ {
		resp, err := g.inner.RoundTrip(req)
		pause, again := g.again(req, resp, err, attempt)
		if !again {
			return g.bounded(req, resp), err
		}
		late := isLate(req.Context(), pause)
		if resp != nil {
			if _, asked := retryafter.Read(resp.Header); pause > g.opts.Patience || late && asked {
				return nil, throttled(req, resp, pause)
			}
		}
		if late { // The answer tells more than that the time is up.
			return g.bounded(req, resp), err
		}
		if resp != nil {
			drain(resp)
		}
		if err := sleep(req.Context(), pause); err != nil {
			return nil, err
		}
	}
}

// again tells whether to repeat the request, and after how long.
func (g *guard) again(req *http.Request, resp *http.Response, err error, attempt int) (time.Duration, bool) {
	if req.Method != http.MethodGet && req.Method != http.MethodHead || req.Context().Err() != nil {
		return 0, false
	}
	if err != nil {
		if attempt >= len(g.opts.Retries) || !passing(err) {
			return 0, false
		}
		return jitter(g.opts.Retries[attempt]), true
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		asked, ok := retryafter.Read(resp.Header)
		if ok && (asked > g.opts.Patience || attempt < len(g.opts.Retries)) {
			return asked, true
		}
	case http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout:
	default:
		return 0, false
	}
	if attempt >= len(g.opts.Retries) {
		return 0, false
	}
	return jitter(g.opts.Retries[attempt]), true
}

// passing tells whether an error may be gone the next time.
func passing(err error) bool {
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return false // It has taken long enough.
	}
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// isLate tells whether a pause outlasts the time that is left.
func isLate(ctx context.Context, pause time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) <= pause
}

func jitter(d time.Duration) time.Duration {
	return d + time.Duration(rand.Float64()*float64(d)/4) //nolint:gosec // no secret
}

// throttled is the error for a registry that asks for a longer pause than we make.
func throttled(req *http.Request, resp *http.Response, after time.Duration) error {
	drain(resp)
	return &ThrottledError{Method: req.Method, Host: req.URL.Host, Path: req.URL.Path, Status: resp.StatusCode, After: after}
}

// drain lets the connection be used again.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// bounded limits the answers that are read into memory.
func (g *guard) bounded(req *http.Request, resp *http.Response) *http.Response {
	if resp == nil {
		return nil
	}
	switch {
	case strings.Contains(req.URL.Path, "/manifests/"):
		resp.Body = &limitedBody{ReadCloser: resp.Body, left: g.opts.Limits.Manifest, what: "manifest"}
	case strings.Contains(req.URL.Path, "/referrers/"):
		resp.Body = &limitedBody{ReadCloser: resp.Body, left: g.opts.Limits.Manifest, what: "list of referrers"}
	case strings.HasSuffix(req.URL.Path, "/tags/list"):
		resp.Body = &limitedBody{ReadCloser: resp.Body, left: g.opts.Limits.TagsPage, what: "list of tags"}
	}
	return resp
}

// limitedBody ends in an error when there is more than allowed.
type limitedBody struct {
	io.ReadCloser
	left int64
	what string
}

func (b *limitedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, fmt.Errorf("%w: the %s is too large", ErrLimit, b.what)
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		_ = b.Close() // The library does not, in all cases.
		return 0, fmt.Errorf("%w: the %s is too large", ErrLimit, b.what)
	}
	return n, err
}
