package kernel

import (
	"cmp"
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/gitops-toolkit/flux/api/meta"
)

// settle turns an outcome into status, events, metrics, log and the time of the next pass.
func (e *engine) settle(ctx context.Context, p *pass, o Outcome) (reconcile.Result, error) {
	switch o.Verdict {
	case VerdictWorking:
		e.work(p, o.Job)
		return reconcile.Result{}, nil
	case VerdictUnchanged:
		if rest, ok := e.rest(p); ok {
			return rest, nil
		}
		o = asBefore(p.attempt)
	}
	return e.conclude(ctx, p, o)
}

// rest leaves status and schedule alone. It does not do when the status shows work under way,
// or when a request or a new generation waits for its answer.
func (e *engine) rest(p *pass) (reconcile.Result, bool) {
	p.st.mu.Lock()
	defer p.st.mu.Unlock()
	if p.st.job != nil {
		return reconcile.Result{}, true
	}
	if p.trigger.Has(TriggerSpec|TriggerRequested) || !p.attempt.flushed.IsZero() || p.attempt.before == nil {
		return reconcile.Result{}, false
	}
	p.st.closeAttempt()
	if p.st.due.IsZero() {
		return reconcile.Result{}, true
	}
	low := priorityPeriodic
	return reconcile.Result{RequeueAfter: max(time.Until(p.st.due), time.Millisecond), Priority: &low}, true
}

// asBefore is the outcome that repeats the verdict from before the attempt.
func asBefore(a *attempt) Outcome {
	if a.before == nil || a.before.Status == metav1.ConditionUnknown {
		return Done(meta.SucceededReason, "")
	}
	if a.before.Status == metav1.ConditionTrue {
		return Done(a.before.Reason, a.before.Message)
	}
	return Failed(a.before.Reason, fmt.Errorf("%s", a.before.Message)).WithoutEvent()
}

// conclude writes the verdict and tells everybody.
func (e *engine) conclude(ctx context.Context, p *pass, o Outcome) (reconcile.Result, error) {
	p.st.mu.Lock()
	p.st.supersede()
	a := p.attempt
	p.st.closeAttempt()
	p.st.mu.Unlock()

	request := requestOf(p.object)
	if p.job != nil && !p.job.Superseded {
		request = a.requested
	}
	told := e.attempt(p.object)
	if a.progress != nil && a.progress.Message != "" {
		told = a.progress.Message
	}
	judge(p.object, o, told)
	answer(p.object, request)
	writing, done := outlive(ctx, verdictGrace)
	defer done()
	written, err := e.write(writing, p.st, p.base, func(latest meta.Object) meta.Object {
		out, err := e.transplant(p.base, p.object, latest)
		if err != nil {
			p.log.Error(err, "status was not written")
			return nil
		}
		return out
	})
	if err != nil {
		p.keepResult()
		return reconcile.Result{}, err
	}
	p.object = written
	took := time.Since(a.started)
	observe(e.gvk.Kind, p.name, took)
	e.announce(p, a, o)
	return e.plan(p, o, took)
}

// verdictGrace is how long a verdict may still be written when the process stops: one that was stored
// without our hearing of it would never get its event.
const verdictGrace = 3 * time.Second

// outlive returns a context that ends some time after ctx does.
func outlive(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(grace, cancel)
		context.AfterFunc(longer, func() { timer.Stop() })
	})
	return longer, func() { stop(); cancel() }
}

// keepResult hands the job's result to the next pass too, because this one could not tell.
func (p *pass) keepResult() {
	p.st.mu.Lock()
	defer p.st.mu.Unlock()
	if p.st.result == nil {
		p.st.result = p.job
	}
}

// announce sends the table's event and those of the outcome.
func (e *engine) announce(p *pass, a *attempt, o Outcome) {
	changed := a.trigger.Has(TriggerRequested) || differs(a.before, conditionOf(p.object, meta.ReadyCondition))
	periodic := e.m.Gate(GatePeriodicEvents)
	if t := table[o.Verdict].event; t != "" && !o.Quiet && (o.Verdict == VerdictFailed || changed) {
		e.emit(p.object, Event{Type: t, Reason: o.Reason, Message: o.Message, Metadata: o.Metadata})
	}
	for _, ev := range o.Events {
		if ev.OnChange && !changed && !periodic {
			continue
		}
		if ev.Metadata == nil {
			ev.Metadata = o.Metadata
		}
		e.emit(p.object, ev)
	}
}

func differs(before, after *metav1.Condition) bool {
	if before == nil || after == nil {
		return before != after
	}
	return before.Status != after.Status || before.Reason != after.Reason || before.Message != after.Message
}

// plan decides when the object comes again and writes the log line.
func (e *engine) plan(p *pass, o Outcome, took time.Duration) (reconcile.Result, error) {
	req := reconcile.Request{NamespacedName: p.name}
	p.setDue(time.Time{})
	e.lookAgain(p)
	if o.ExponentialBackoff && o.Err != nil {
		if o.After <= 0 {
			return reconcile.Result{}, o.Err
		}
		return e.later(p, o, took, e.backoff.pause(req, o.After)), nil
	}
	e.backoff.succeeded(req)
	if o.Verdict == VerdictStalled {
		return reconcile.Result{}, reconcile.TerminalError(o.Err)
	}
	return e.later(p, o, took, delay(p.object, o, e.m.settings)), nil
}

// later lets the object come again after a while, not at all after none.
func (e *engine) later(p *pass, o Outcome, took, after time.Duration) reconcile.Result {
	e.logOutcome(p, o, took, after)
	if o.Immediate {
		high := priorityUrgent
		return reconcile.Result{RequeueAfter: time.Millisecond, Priority: &high}
	}
	if after <= 0 {
		return reconcile.Result{}
	}
	p.setDue(time.Now().Add(after))
	low := priorityPeriodic
	return reconcile.Result{RequeueAfter: after, Priority: &low}
}

// lookAgain wakes the object for what came while its job ran, which the job cannot have seen.
func (e *engine) lookAgain(p *pass) {
	if pendingRequest(p.object) != "" {
		e.wake(p.name, TriggerRequested, priorityUrgent)
	}
	if p.job != nil && p.job.outdated {
		e.wake(p.name, TriggerReference, priorityReference)
	}
}

func (p *pass) setDue(t time.Time) {
	p.st.mu.Lock()
	defer p.st.mu.Unlock()
	p.st.due = t
}

func (e *engine) logOutcome(p *pass, o Outcome, took, after time.Duration) {
	switch {
	case o.LogMessage == "-":
	case table[o.Verdict].log == logError:
		p.log.Error(o.Err, cmp.Or(o.LogMessage, fmt.Sprintf("Reconciliation failed after %s, next try in %s", took, after)))
	case table[o.Verdict].log == logInfo:
		p.log.Info(redact(cmp.Or(o.LogMessage, o.Message)))
	case o.LogMessage != "":
		p.log.Info(redact(o.LogMessage))
	}
}
