package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// idleTimer ends a context when nothing has been read for a while.
type idleTimer struct {
	timeout time.Duration
	timer   *time.Timer
	ctx     context.Context
	cancel  context.CancelCauseFunc
}

var errIdle = errors.New("the server stopped sending")

func withIdleTimeout(parent context.Context, timeout time.Duration) (context.Context, *idleTimer) {
	ctx, cancel := context.WithCancelCause(parent)
	timer := time.AfterFunc(timeout, func() { cancel(errIdle) })
	return ctx, &idleTimer{timeout: timeout, timer: timer, ctx: ctx, cancel: cancel}
}

func (t *idleTimer) progress() {
	t.timer.Reset(t.timeout)
}

func (t *idleTimer) stop() {
	t.timer.Stop()
	t.cancel(context.Canceled)
}

// explain says that the timer ended a request, where it did.
func (t *idleTimer) explain(err error) error {
	if errors.Is(context.Cause(t.ctx), errIdle) {
		return fmt.Errorf("%w for %s: %w", errIdle, t.timeout, err)
	}
	return err
}

// sourceReader tells a broken download, which may be tried again, from a failure to write it.
type sourceReader struct {
	r      io.Reader
	idle   *idleTimer
	failed bool
}

func (r *sourceReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if n > 0 {
		r.idle.progress()
	}
	if err != nil && err != io.EOF {
		r.failed = true
	}
	return n, err
}
