package kernel

import (
	"cmp"
	"context"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/api/meta"
)

// progressDelay is how long work has to last before its progress is written. Each further write
// waits twice as long as the one before it, at most progressDelayLimit: what lasts is told less often.
const (
	progressDelay      = time.Second
	progressDelayLimit = 8 * time.Second
)

// pass is one reconciliation under way; it is the Host of the kind's request, also for the job
// that the pass started.
type pass struct {
	e       *engine
	st      *state
	name    types.NamespacedName
	attempt *attempt
	// base is the object as it was stored when the pass began, object the copy that changes.
	base    meta.Object
	object  meta.Object
	log     logr.Logger
	trigger Trigger
	job     *JobResult
	running string
	started time.Time
}

// begin opens a pass over obj, and an attempt if none is open.
func (e *engine) begin(name types.NamespacedName, st *state, obj meta.Object, log logr.Logger) *pass {
	st.mu.Lock()
	defer st.mu.Unlock()
	now := time.Now()
	p := &pass{e: e, st: st, name: name, base: obj, object: obj.DeepCopyObject().(meta.Object), log: log}
	p.trigger, st.trigger = st.trigger, 0
	woken := p.trigger.Has(TriggerReference)
	st.interval = cmp.Or(obj.GetRetryInterval(), obj.GetInterval())
	if !now.Before(st.due) {
		p.trigger |= TriggerInterval
	}
	if obj.GetGeneration() != obj.GetObservedGeneration() {
		p.trigger |= TriggerSpec
	}
	if pendingRequest(obj) != "" {
		p.trigger |= TriggerRequested
	}
	if st.attempt == nil {
		st.attempt = newAttempt(obj, now)
	}
	st.attempt.trigger |= p.trigger
	p.attempt, p.trigger, p.started = st.attempt, st.attempt.trigger, st.attempt.started
	p.job, st.result = st.result, nil
	if p.job != nil && p.job.Generation != obj.GetGeneration() {
		p.job.Superseded = true
	}
	if woken {
		st.outdate(p.job)
	}
	if st.job != nil && !st.job.superseded {
		p.running = st.job.jobKey
	}
	return p
}

func newAttempt(obj meta.Object, now time.Time) *attempt {
	return &attempt{started: now, requested: requestOf(obj), before: conditionOf(obj, meta.ReadyCondition)}
}

// Progress implements Host.
func (p *pass) Progress(progress Progress) {
	p.st.mu.Lock()
	defer p.st.mu.Unlock()
	a := p.attempt
	if a.closed {
		return
	}
	a.progress = &progress
	if a.timer != nil {
		return
	}
	since, delay := a.started, progressDelay
	if !a.flushed.IsZero() {
		since, delay = a.flushed, min(progressDelay<<min(a.flushes, 8), progressDelayLimit)
	}
	a.timer = time.AfterFunc(max(0, delay-time.Since(since)), p.flush)
}

// flush writes the last progress of the attempt unless its verdict overtook it.
func (p *pass) flush() {
	ctx := p.e.m.pool.ctx
	_, err := p.e.write(ctx, p.st, p.base, func(latest meta.Object) meta.Object {
		p.st.mu.Lock()
		defer p.st.mu.Unlock()
		a := p.attempt
		if a.closed || a.progress == nil || a.progress.Message == "" {
			return nil
		}
		if wait := a.holdBack(p.st); wait > 0 {
			a.timer = time.AfterFunc(wait, p.flush)
			return nil
		}
		a.timer, a.flushed = nil, time.Now()
		a.flushes++
		out := latest.DeepCopyObject().(meta.Object)
		show(out, *a.progress)
		return out
	})
	if err != nil && ctx.Err() == nil {
		p.log.V(1).Info("progress was not written", "cause", err.Error())
	}
}

// holdBack returns how long the first progress may still wait for the job's turn, or for the verdict over
// its result. What nobody asked for and has not begun is not told at once: a new revision for a thousand
// objects would write each of them once more, to say that it stands in line. The caller holds mu of st.
func (a *attempt) holdBack(st *state) time.Duration {
	r := st.job
	if r == nil && st.result != nil && a.flushed.IsZero() {
		return progressDelay
	}
	if r == nil || !a.flushed.IsZero() || a.trigger.Has(TriggerNew|TriggerSpec|TriggerRequested) {
		return 0
	}
	if begun := r.begun.Load(); begun != nil {
		return progressDelay - time.Since(*begun)
	}
	if time.Since(r.started) > lineDelay {
		return 0
	}
	return progressDelay
}

// Checkpoint implements Host. It carries the progress along, so that nobody takes the last
// verdict for that of the new state.
func (p *pass) Checkpoint(ctx context.Context, change func(meta.Object)) error {
	_, err := p.e.write(ctx, p.st, p.base, func(latest meta.Object) meta.Object {
		out := latest.DeepCopyObject().(meta.Object)
		change(out)
		out.SetConditions(latest.DeepCopyObject().(meta.Object).GetConditions())
		out.SetObservedGeneration(latest.GetObservedGeneration())
		out.SetLastHandledReconcileAt(latest.GetLastHandledReconcileAt())
		p.st.mu.Lock()
		defer p.st.mu.Unlock()
		if p.attempt.progress != nil && !p.attempt.closed {
			p.attempt.flushed = time.Now()
			show(out, *p.attempt.progress)
		}
		return out
	})
	return err
}

// Event implements Host.
func (p *pass) Event(ev Event) { p.e.emit(p.object, ev) }

// Memory implements Host.
func (p *pass) Memory() any {
	p.st.mu.Lock()
	defer p.st.mu.Unlock()
	return p.st.memory
}

// Remember implements Host.
func (p *pass) Remember(v any) {
	p.st.mu.Lock()
	defer p.st.mu.Unlock()
	p.st.memory = v
}
