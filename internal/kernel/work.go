package kernel

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/subject"
)

// work starts the job of a Working outcome, lets the same job run on, or cancels another one:
// its end wakes the object, and the next pass starts the job that is then desired.
func (e *engine) work(p *pass, job Job) {
	st := p.st
	finalizing := !p.object.GetDeletionTimestamp().IsZero()
	key := fmt.Sprintf("%d/%t/%s", p.object.GetGeneration(), finalizing, job.Key)
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.job != nil {
		if st.job.key != key {
			st.supersede()
		}
		return
	}
	if r := st.result; r != nil && !r.Superseded && r.desire == key {
		return // it ended while the kind thought about it, and has woken the object
	}
	if p.job == nil || p.job.Superseded {
		st.attempt.requested = requestOf(p.object)
		if p.job != nil {
			st.attempt.started = time.Now()
		}
	}
	ctx, cancel := context.WithCancelCause(e.m.pool.ctx)
	r := &run{
		key: key, jobKey: job.Key, generation: p.object.GetGeneration(), requested: requestOf(p.object),
		finalizing: finalizing, started: time.Now(), cancel: cancel,
		outdated: p.job != nil && !p.job.Superseded && p.job.outdated, // the verdict rests on both
	}
	st.job = r
	urgent := p.trigger.Has(TriggerNew | TriggerSpec | TriggerRequested)
	e.m.pool.wg.Add(1)
	go e.runJob(ctx, p.name, st, r, job, urgent, p)
}

// runJob is the life of one job.
func (e *engine) runJob(ctx context.Context, name types.NamespacedName, st *state, r *run, job Job, urgent bool, p *pass) {
	defer e.m.pool.wg.Done()
	defer r.cancel(nil)
	ctx, end := e.trace(subject.With(ctx, e.gvk.Kind, name.Namespace, name.Name), "job", p)
	lane := name.Namespace + "/" + job.Lane
	told := time.AfterFunc(queueDelay, func() { p.queued(r) })
	work := job.Run
	job.Run = func(ctx context.Context) (any, error) {
		now := time.Now()
		r.begun.Store(&now)
		return work(ctx)
	}
	value, err := e.m.pool.run(ctx, job, lane, urgent)
	told.Stop()
	end()
	if errors.Is(context.Cause(ctx), context.Canceled) && e.m.pool.ctx.Err() != nil {
		return // the process stops; the next one begins anew
	}
	st.mu.Lock()
	st.job = nil
	st.result = &JobResult{
		desire: r.key, Key: r.jobKey, Generation: r.generation, Requested: r.requested, Value: value, Err: err,
		Superseded: r.superseded, outdated: r.outdated, Started: r.started, Duration: time.Since(r.started),
	}
	if r.void {
		st.result = nil
	}
	st.mu.Unlock()
	e.wake(name, TriggerJob, priorityUrgent)
}

// queueDelay is how long a job stands in line before the object's status says so, lineDelay how long one
// that nobody waits for: of a new revision or an interval.
const (
	queueDelay = 10 * time.Second
	lineDelay  = 30 * time.Second
)

// queued tells that the job still waits for its turn, unless the kind has told more.
func (p *pass) queued(r *run) {
	p.st.mu.Lock()
	silent := p.st.job == r && r.begun.Load() == nil && p.attempt.progress == nil
	p.st.mu.Unlock()
	if silent {
		p.Progress(Progress{Message: "waiting for other work to end"})
	}
}
