package kernel

import (
	"cmp"
	"math/rand/v2"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// schedule says when the next pass comes if the outcome itself names no delay.
type schedule int

const (
	never schedule = iota
	atInterval
	atRetryInterval
	atDependency
)

// rule is what a verdict does to the object and to its observers.
type rule struct {
	ready metav1.ConditionStatus
	// retrying keeps Reconciling with reason ProgressingWithRetry where work had begun;
	// otherwise Reconciling goes away.
	retrying bool
	// stalled sets Stalled; otherwise it goes away.
	stalled bool
	// observe moves observedGeneration to the generation.
	observe bool
	// event is the type of the event that carries the message; empty: none.
	event EventType
	// log is the level of the log line that the kernel writes by itself.
	log  level
	next schedule
}

type level int

const (
	logNothing level = iota
	logInfo
	logError
)

// table maps verdicts to everything that others see of them. Working and Unchanged are not
// verdicts about the object and have no row.
var table = map[Verdict]rule{
	VerdictDone:    {ready: metav1.ConditionTrue, observe: true, next: atInterval},
	VerdictWaiting: {ready: metav1.ConditionFalse, retrying: true, log: logInfo, next: atDependency},
	VerdictFailed:  {ready: metav1.ConditionFalse, retrying: true, event: EventWarning, log: logError, next: atRetryInterval},
	VerdictStalled: {ready: metav1.ConditionFalse, stalled: true, observe: true, event: EventWarning, log: logError},
}

// judge writes an outcome into the conditions of obj. Progress is how far the attempt had come, empty when
// there is nothing to tell.
func judge(obj meta.Object, o Outcome, progress string) {
	r := table[o.Verdict]
	reason := cmp.Or(o.Reason, defaultReason(o.Verdict))
	setCondition(obj, metav1.Condition{Type: meta.ReadyCondition, Status: r.ready, Reason: reason, Message: redact(o.Message)})
	switch {
	case r.retrying:
		retrying(obj, progress)
	default:
		removeCondition(obj, meta.ReconcilingCondition)
	}
	if r.stalled {
		setCondition(obj, metav1.Condition{
			Type: meta.StalledCondition, Status: metav1.ConditionTrue,
			Reason: cmp.Or(o.StallReason, reason), Message: redact(cmp.Or(o.StallMessage, o.Message)),
		})
	} else {
		removeCondition(obj, meta.StalledCondition)
	}
	if (r.observe || o.Observed) && !o.Unobserved {
		obj.SetObservedGeneration(obj.GetGeneration())
	}
}

func defaultReason(v Verdict) string {
	if v == VerdictDone {
		return meta.SucceededReason
	}
	return meta.FailedReason
}

// retrying keeps the condition Reconciling of an attempt that had begun to work.
func retrying(obj meta.Object, message string) {
	if c := apimeta.FindStatusCondition(obj.GetConditions(), meta.ReconcilingCondition); c != nil && message == "" {
		message = c.Message
	}
	if message == "" {
		return
	}
	setCondition(obj, metav1.Condition{
		Type: meta.ReconcilingCondition, Status: metav1.ConditionTrue,
		Reason: meta.ProgressingWithRetryReason, Message: redact(message),
	})
}

// show writes progress into the conditions of obj. Ready keeps a verdict unless the progress
// says otherwise; without a verdict it is Unknown.
func show(obj meta.Object, p Progress) {
	removeCondition(obj, meta.StalledCondition)
	setCondition(obj, metav1.Condition{
		Type: meta.ReconcilingCondition, Status: metav1.ConditionTrue, Reason: meta.ProgressingReason, Message: redact(p.Message),
	})
	ready := apimeta.FindStatusCondition(obj.GetConditions(), meta.ReadyCondition)
	if p.Ready != "" || ready == nil || ready.Status == metav1.ConditionUnknown {
		setCondition(obj, metav1.Condition{
			Type: meta.ReadyCondition, Status: metav1.ConditionUnknown, Reason: meta.ProgressingReason,
			Message: redact(cmp.Or(p.Ready, p.Message)),
		})
	}
	for _, c := range p.Conditions {
		c.Message = redact(c.Message)
		setCondition(obj, c)
	}
	if p.Change != nil {
		p.Change(obj)
	}
}

// delay returns the time to the next pass, zero for none.
func delay(obj meta.Object, o Outcome, s Settings) time.Duration {
	if o.After > 0 {
		return o.After
	}
	switch table[o.Verdict].next {
	case atInterval:
		return jitter(obj.GetInterval(), s.IntervalJitterPercentage)
	case atRetryInterval:
		return cmp.Or(obj.GetRetryInterval(), obj.GetInterval(), s.MinRetryDelay)
	case atDependency:
		return s.RequeueDependency
	default:
		return 0
	}
}

// jitter spreads d by up to ± percent of it.
func jitter(d time.Duration, percent uint8) time.Duration {
	if d <= 0 || percent == 0 {
		return d
	}
	spread := float64(d) * float64(min(percent, 100)) / 100
	return max(d+time.Duration(spread*(2*rand.Float64()-1)), time.Millisecond)
}
