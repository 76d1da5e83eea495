package kernel

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// pool bounds the background work of a controller.
type pool struct {
	slots *slots
	ctx   context.Context
	stop  context.CancelFunc
	wg    sync.WaitGroup
}

func newPool(size int) *pool {
	ctx, stop := context.WithCancel(context.Background())
	return &pool{slots: newSlots(size), ctx: ctx, stop: stop}
}

// close cancels all jobs and waits for them, at most for the given time. It reports whether
// all had ended.
func (p *pool) close(limit time.Duration) bool {
	p.stop()
	ended := make(chan struct{})
	go func() { p.wg.Wait(); close(ended) }()
	select {
	case <-ended:
		return true
	case <-time.After(limit):
		return false
	}
}

// run calls job.Run when there is a slot for it and returns its result. A job cancelled while it
// waits is not run at all.
func (p *pool) run(ctx context.Context, job Job, lane string, urgent bool) (value any, err error) {
	if !job.Waits {
		s, err := p.slots.acquire(ctx, lane, urgent)
		if err != nil {
			return nil, err
		}
		defer p.slots.release(s)
	}
	if job.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, job.Timeout, ErrJobTimeout)
		defer cancel()
	}
	return safely(func() (any, error) { return job.Run(ctx) })
}

// PanicError is a panic that was recovered. Its text has no stack; the log has.
type PanicError struct {
	Value any
	Stack []byte
}

// Error names the panic's value, cut to a length that fits a condition.
func (e *PanicError) Error() string {
	text := fmt.Sprint(e.Value)
	if len(text) > 256 {
		text = text[:256] + "..."
	}
	return "panic: " + text + "; this is a bug of the controller, its log has the stack"
}

// safely turns a panic of f into a *PanicError.
func safely[R any](f func() (R, error)) (result R, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return f()
}

func isPanic(err error) (*PanicError, bool) {
	var p *PanicError
	return p, errors.As(err, &p)
}
