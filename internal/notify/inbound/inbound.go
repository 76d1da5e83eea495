// Package inbound holds what the two HTTP servers of notification-controller have in common: limits
// on what they read, and metrics.
//
// Limits come first: headers and time are bounded by the server, the body here, and the memory that
// all bodies take together by a Budget, so that a flood of large requests waits instead of being
// held.
package inbound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	// MaxBody is the largest body that is read, in bytes.
	MaxBody = 3 << 20
	// bodyTimeout is how long a client may take to send a body.
	bodyTimeout = 30 * time.Second
	// bodiesAtOnce is how many bytes of bodies are held at a time.
	bodiesAtOnce = 16 * (MaxBody + 1)
)

// TooLargeError is a body beyond MaxBody.
type TooLargeError struct{}

// Error has the text of the tables.
func (*TooLargeError) Error() string {
	return fmt.Sprintf("request body exceeds the maximum size of %d bytes", MaxBody)
}

// Budget bounds the memory of all bodies together.
type Budget struct{ bytes *semaphore.Weighted }

// NewBudget returns a budget for one server.
func NewBudget() *Budget { return &Budget{bytes: semaphore.NewWeighted(bodiesAtOnce)} }

// Read reads the body of a request within the limits. release must be called when the body is not
// needed any more, whatever the error.
func (b *Budget) Read(w http.ResponseWriter, r *http.Request) (body []byte, release func(), err error) {
	if r.ContentLength > MaxBody {
		// Reading nothing would let the server wait for the rest; MaxBytesReader closes.
		r.Body = http.MaxBytesReader(w, r.Body, 0)
		_, _ = r.Body.Read(make([]byte, 1))
		return nil, func() {}, &TooLargeError{}
	}
	weight := r.ContentLength + 1
	if r.ContentLength < 0 {
		weight = MaxBody + 1
	}
	ctx, cancel := context.WithTimeout(r.Context(), bodyTimeout)
	defer cancel()
	if err := b.bytes.Acquire(ctx, weight); err != nil {
		return nil, func() {}, fmt.Errorf("too many requests at a time: %w", err)
	}
	release = func() { b.bytes.Release(weight) }
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // not all writers can
	body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, release, &TooLargeError{}
	}
	return body, release, err
}

// Status is the answer to a body that could not be read.
func Status(err error) int {
	var large *TooLargeError
	if errors.As(err, &large) {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}
