package kernel

import (
	"context"
	"hash/fnv"
	"io"
	"sync"
	"time"
)

const (
	// lineCount is how many deliveries of one kind run at a time.
	lineCount = 4
	// lineLength holds an event or two of each of a few thousand objects.
	lineLength = 1024
	// drainTimeout leaves the rest of the pod's grace period to jobs and leases.
	drainTimeout = 3 * time.Second
)

// lines deliver in the background. Workers never wait for them: what concerns one object keeps
// its order in one of a few bounded lines, and a full line refuses what comes.
type lines[T any] struct {
	queues  [lineCount]chan T
	deliver func(context.Context, T)
	// drain bounds what is delivered after the end of the work.
	drain time.Duration
}

func newLines[T any](deliver func(context.Context, T)) *lines[T] {
	l := &lines[T]{deliver: deliver, drain: drainTimeout}
	for i := range l.queues {
		l.queues[i] = make(chan T, lineLength)
	}
	return l
}

// send queues what concerns the object of a key and reports whether there was room.
func (l *lines[T]) send(key string, v T) bool {
	h := fnv.New32a()
	_, _ = io.WriteString(h, key)
	select {
	case l.queues[h.Sum32()%lineCount] <- v:
		return true
	default:
		return false
	}
}

// run delivers until ctx ends; then it delivers what is queued, for at most drain.
func (l *lines[T]) run(ctx context.Context) {
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var wg sync.WaitGroup
	for _, queue := range l.queues {
		wg.Go(func() { l.serve(ctx, hard, queue) })
	}
	<-ctx.Done()
	timer := time.AfterFunc(l.drain, cancel)
	defer timer.Stop()
	wg.Wait()
}

func (l *lines[T]) serve(ctx, hard context.Context, queue chan T) {
	for {
		select {
		case v := <-queue:
			l.deliver(hard, v)
		case <-ctx.Done():
			select {
			case v := <-queue:
				l.deliver(hard, v)
			default:
				return
			}
		}
	}
}

// retry calls f until it says that another attempt does not help, with doubling pauses.
func retry(ctx context.Context, attempts int, pause time.Duration, f func() (again bool, err error)) error {
	for attempt := 1; ; attempt++ {
		again, err := f()
		if err == nil || !again || attempt == attempts || !sleep(ctx, pause) {
			return err
		}
		pause *= 2
	}
}

// sleep waits for d and reports whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
