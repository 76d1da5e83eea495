// Package retryafter reads how long a server wants to be left alone, and leaves it alone for that long.
package retryafter

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Read reads the header Retry-After, which holds seconds or a date. The pause is never negative; false
// means that the header is not there or says nothing.
func Read(h http.Header) (time.Duration, bool) {
	text := h.Get("Retry-After")
	if n, err := strconv.ParseInt(text, 10, 32); err == nil && n >= 0 {
		return time.Duration(n) * time.Second, true
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at)), true
	}
	return 0, false
}

// Wanted tells for how long an answer asks to be left alone, zero if it does not.
func Wanted(resp *http.Response) time.Duration {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	d, _ := Read(resp.Header)
	return d
}

// Error says that a server wants to be left alone.
type Error struct {
	// Status of the answer, as in "429 Too Many Requests".
	Host, Status string
	// After is how long.
	After time.Duration
}

// Error names the server.
func (e *Error) Error() string {
	return fmt.Sprintf("'%s' answers %s, and asks to wait %s", e.Host, e.Status, e.After.Round(time.Second))
}

// Pause is how long the server wants to be left alone.
func (e *Error) Pause() time.Duration { return e.After }

// Asked tells for how long the server that an error is about wants to be left alone, zero if it does not say.
func Asked(err error) time.Duration {
	var e interface {
		error
		Pause() time.Duration
	}
	if errors.As(err, &e) {
		return e.Pause()
	}
	return 0
}

// Patience is the longest pause that is left to a client which tries again by itself.
const Patience = 5 * time.Second

// Transport makes an *Error of an answer that asks for a longer pause than Patience, and of every request until that is
// over, so that no client asks again in its own rhythm. It is for one server.
type Transport struct {
	Next http.RoundTripper

	mu    sync.Mutex
	said  *Error
	until time.Time
}

// RoundTrip makes the request, unless the server wants to be left alone.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if e := t.waiting(); e != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, e
	}
	resp, err := t.Next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	d := Wanted(resp)
	if d <= Patience {
		return resp, nil
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.said, t.until = &Error{Host: r.URL.Host, Status: resp.Status, After: d}, time.Now().Add(d)
	return nil, t.said
}

func (t *Transport) waiting() *Error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.said == nil || time.Now().After(t.until) {
		return nil
	}
	return t.said
}
