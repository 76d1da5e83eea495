// Package inbound holds what the two HTTP servers of notification-controller have in common: limits
// on what they read, and metrics.
//
// Limits come first: headers and time are bounded by the server, the body here, and the memory that
// all bodies take together by a Budget, which reserves as they come in: a flood of large requests waits
// instead of being held, is asked to come again if that lasts, and slow ones hold what they have sent.
package inbound

import (
	"bytes"
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
	bodiesAtOnce = 16 * (MaxBody + stepBytes)
	// firstBytes of a body are read without a reservation: a connection costs as much anyway, and one that sends
	// nothing holds nothing.
	firstBytes = 4 << 10
	// stepBytes are reserved at a time for what follows.
	stepBytes = 64 << 10
	// busyAfter is how long a body waits for others.
	busyAfter = 5 * time.Second
)

// TooLargeError is a body beyond MaxBody.
type TooLargeError struct{}

// Error has the text of the tables.
func (*TooLargeError) Error() string {
	return fmt.Sprintf("request body exceeds the maximum size of %d bytes", MaxBody)
}

// BusyError is a body that there is no room for at this time.
type BusyError struct{ err error }

// Error implements error.
func (e *BusyError) Error() string { return "too many requests at a time: " + e.err.Error() }

// Unwrap returns what ended the wait.
func (e *BusyError) Unwrap() error { return e.err }

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
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // not all writers can
	in := &reading{budget: b, from: http.MaxBytesReader(w, r.Body, MaxBody)}
	err = in.all(r.Context())
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, in.release, &TooLargeError{}
	}
	return in.body.Bytes(), in.release, err
}

// reading is a body on its way in.
type reading struct {
	budget *Budget
	from   io.Reader
	body   bytes.Buffer
	held   int64
}

func (in *reading) release() { in.budget.bytes.Release(in.held) }

// all reads to the end, and reserves memory as it goes.
func (in *reading) all(ctx context.Context) error {
	_, err := io.CopyN(&in.body, in.from, firstBytes)
	for err == nil {
		if err = in.reserve(ctx); err == nil {
			_, err = io.CopyN(&in.body, in.from, stepBytes)
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (in *reading) reserve(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, busyAfter)
	defer cancel()
	if err := in.budget.bytes.Acquire(ctx, stepBytes); err != nil {
		return &BusyError{err}
	}
	in.held += stepBytes
	return nil
}

// Status is the answer to a body that could not be read.
func Status(err error) int {
	var large *TooLargeError
	if errors.As(err, &large) {
		return http.StatusRequestEntityTooLarge
	}
	var busy *BusyError
	if errors.As(err, &busy) {
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}
