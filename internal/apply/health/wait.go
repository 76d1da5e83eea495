package health

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// Options says how to wait.
type Options struct {
	// Client reads objects as whoever owns them.
	Client *apply.Client
	// Watch tells when to read; nil means to poll.
	Watch *Hub
	// Timeout ends the wait.
	Timeout time.Duration
	// Exprs are the CEL expressions, nil when there are none.
	Exprs *Exprs
	// ExprsForJobs lets expressions win over the rules for Jobs, as with impersonated and remote
	// clients.
	ExprsForJobs bool
	// DisableFailFast waits on when an object has failed, as long as others are in progress.
	DisableFailFast bool
	// PollInterval is for objects without a watch; 0 means 5 s.
	PollInterval time.Duration
	// Concurrency bounds the reads that run side by side; 0 means 4.
	Concurrency int
}

// Result is the end of a wait.
type Result struct {
	// Err is nil when all objects are healthy. Its text is that of the tables, without the prefix
	// "health check failed after …: ".
	Err error
	// Cancelled says that the context ended before there was a verdict; Err is its cause.
	Cancelled bool
	// Duration is how long the wait took.
	Duration time.Duration
	// NotReady are the objects that were not Current at the end.
	NotReady []State
	// Details says, one line an object, why it is not ready: its message, the failing container with
	// image and exit code, the last warning event.
	Details string
}

// readGap is the least time between two reads of one object.
const readGap = time.Second

// Wait waits for a verdict on the objects.
func Wait(ctx context.Context, objects []Object, o Options) *Result {
	if o.PollInterval <= 0 {
		o.PollInterval = 5 * time.Second
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 4
	}
	w := newWaiter(objects, o)
	defer w.close()
	begun := time.Now()
	res := w.run(ctx)
	res.Duration = time.Since(begun)
	if res.Err != nil && !res.Cancelled {
		res.Details = w.explain(ctx, res.NotReady)
	}
	return res
}

// waiter is the state of one Wait. Only its own goroutine, and while it waits for them its readers,
// touch the tracked objects.
type waiter struct {
	Options
	objects []*tracked
	wake    chan struct{}
}

// tracked is one object of a waiter.
type tracked struct {
	State
	read    time.Time // when it was last read, zero when never
	version string    // the resourceVersion then, empty when absent
	sub     *subscription
}

func newWaiter(objects []Object, o Options) *waiter {
	w := &waiter{Options: o, wake: make(chan struct{}, 1)}
	for _, obj := range objects {
		t := &tracked{State: State{Object: obj}}
		if obj.Current && o.Exprs.lookup(obj.GroupKind()) == nil {
			t.Status = status.CurrentStatus
		}
		w.objects = append(w.objects, t)
	}
	return w
}

func (w *waiter) close() {
	for _, t := range w.objects {
		if t.sub != nil {
			t.sub.close()
		}
	}
}

func (w *waiter) run(ctx context.Context) *Result {
	deadline := time.NewTimer(w.Timeout)
	defer deadline.Stop()
	for {
		w.readDue(ctx)
		if ctx.Err() != nil {
			return &Result{Cancelled: true, Err: context.Cause(ctx), NotReady: w.notReady()}
		}
		if res := w.verdict(); res != nil {
			return res
		}
		next := time.NewTimer(w.nextRead())
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-next.C:
		case <-deadline.C:
			next.Stop()
			return w.timedOut()
		}
		next.Stop()
	}
}

// verdict returns the result when there is one already.
func (w *waiter) verdict() *Result {
	var failed []State
	open := 0
	for _, t := range w.objects {
		switch {
		case t.Status == status.FailedStatus:
			failed = append(failed, t.State)
		case t.Status != status.CurrentStatus || w.due(t) <= 0:
			open++
		}
	}
	if len(failed) > 0 && (!w.DisableFailFast || open == 0) {
		err := fmt.Errorf("failed early due to stalled resources: [%s]", list(failed))
		return &Result{Err: err, NotReady: w.notReady()}
	}
	if open == 0 {
		return &Result{}
	}
	return nil
}

func (w *waiter) timedOut() *Result {
	states := w.notReady()
	for _, s := range states {
		if s.Status == "" {
			return &Result{Err: fmt.Errorf("can't determine status for %s", s.Subject()), NotReady: states}
		}
	}
	return &Result{Err: fmt.Errorf("timeout waiting for: [%s]", list(states)), NotReady: states}
}

func (w *waiter) notReady() []State {
	var out []State
	for _, t := range w.objects {
		if t.Status != status.CurrentStatus {
			out = append(out, t.State)
		}
	}
	return out
}

func list(states []State) string {
	lines := make([]string, len(states))
	for i, s := range states {
		lines[i] = s.String()
	}
	return strings.Join(lines, ", ")
}

// due returns how long until the object should be read; never is a long time.
func (w *waiter) due(t *tracked) time.Duration {
	const never = time.Hour
	since := time.Since(t.read)
	switch {
	case t.read.IsZero() && t.Status == status.CurrentStatus:
		return never // known without reading
	case t.read.IsZero():
		return 0
	}
	if t.sub != nil {
		version, seen, watched := t.sub.state()
		if seen && version != t.version {
			return readGap - since
		}
		if watched {
			return never
		}
	}
	if t.Status == status.CurrentStatus {
		return never
	}
	return w.PollInterval - since
}

func (w *waiter) nextRead() time.Duration {
	next := time.Hour
	for _, t := range w.objects {
		next = min(next, w.due(t))
	}
	return max(next, time.Millisecond)
}

// readDue reads all objects whose time has come and watches those that are not Current.
func (w *waiter) readDue(ctx context.Context) {
	var g errgroup.Group
	g.SetLimit(w.Concurrency)
	for _, t := range w.objects {
		if w.due(t) > 0 {
			continue
		}
		g.Go(func() error {
			w.readOne(ctx, t)
			return nil
		})
	}
	_ = g.Wait()
}

func (w *waiter) readOne(ctx context.Context, t *tracked) {
	now, version := look(ctx, &w.Options, t.State)
	if ctx.Err() != nil {
		return
	}
	t.State, t.read, t.version = now, time.Now(), version
	if t.Status != status.CurrentStatus && t.sub == nil && w.Watch != nil {
		w.subscribe(ctx, t)
	}
}

// look reads and judges one object; version is empty when it is absent.
func look(ctx context.Context, o *Options, s State) (now State, version string) {
	live, err := o.Client.Get(ctx, s.Ref)
	s.live = live
	switch {
	case apierrors.IsNotFound(err) || meta.IsNoMatchError(err):
		s.Status, s.Message, s.Err = status.NotFoundStatus, "the object does not exist", nil
		if s.VanishesWhenDone {
			s.Status, s.Message = status.CurrentStatus, ""
		}
	case err != nil:
		s.Err = err
		if s.Status == "" || s.Status == status.CurrentStatus {
			s.Status = status.UnknownStatus
		}
	default:
		version = live.GetResourceVersion()
		s.Status, s.Message, s.Err = Compute(ctx, live, o.Exprs, o.ExprsForJobs)
	}
	return s, version
}

func (w *waiter) subscribe(ctx context.Context, t *tracked) {
	m, err := w.Client.Mapper().ForKind(ctx, t.GroupVersionKind)
	if err != nil {
		return // unknown kind: it is polled
	}
	ns := t.Namespace
	if !m.Namespaced {
		ns = ""
	}
	t.sub = w.Watch.subscribe(m.Resource, ns, t.Name, func() {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	})
}
