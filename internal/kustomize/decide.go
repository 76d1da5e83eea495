package kustomize

import (
	"slices"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// step is what a pass does next.
type step int

const (
	// stepRest: nothing is due.
	stepRest step = iota
	// stepRun: the job that runs serves the desire; it runs on.
	stepRun
	// stepApply: fetch, build, apply and prune.
	stepApply
	// stepIll: tell that objects are not healthy any more.
	stepIll
	// stepInStep: nothing drifted since the last interval.
	stepInStep
	// stepHandOver: wait for those who may want what is to be pruned.
	stepHandOver
	// stepPrune: prune.
	stepPrune
	// stepHealth: wait for health.
	stepHealth
	// stepRollBack: apply the last revision that was healthy.
	stepRollBack
	// stepConclude: the work has come to an end; judge it.
	stepConclude
)

// situation is all that decides on the next step.
type situation struct {
	// desire is what is wanted, settled what the last success was for; both include the generation.
	desire, settled string
	// known is false when the versions of ConfigMaps or Secrets are not known, so that the desire may differ unseen.
	known bool
	ready bool
	// applyKey, handOverKey, pruneKey and healthKey are the keys of the jobs for the desire, running that of the job
	// that runs, or empty.
	applyKey, handOverKey, pruneKey, healthKey, rollbackKey, running string
	trigger                                                          kernel.Trigger
	// ended is the key of a job that came to its end for this desire, or empty.
	ended string
	// failed says that it failed, pending that something is left to be pruned, waits that the objects it applied have
	// to be waited for.
	failed, pending, waits bool
	// held says that the inventory has objects that another owner is about to take over.
	held bool
	// drift says that the tracker has something to correct, inStep that a look at the interval would find nothing.
	drift, inStep bool
	// asked says that somebody asked for a full pass since the attempt began.
	asked bool
	// rollBack says that a revision that proved unhealthy is to be replaced, rolledBack that it was.
	rollBack, rolledBack bool
	// atHand says that what was healthy can be applied again.
	atHand bool
	// ill says that objects that were healthy are not any more, and that their time has run out.
	ill bool
}

// due are the triggers that ask for a pass whatever is known.
const due = kernel.TriggerNew | kernel.TriggerSpec | kernel.TriggerRequested | kernel.TriggerInterval

// decide chooses the next step.
func decide(s situation) step {
	if s.ended != "" {
		return s.after()
	}
	switch {
	case s.running != "" && slices.Contains([]string{s.applyKey, s.handOverKey, s.pruneKey, s.healthKey, s.rollbackKey}, s.running):
		if (s.drift || s.asked) && s.running == s.healthKey {
			return stepApply // the wait goes on afterwards, and keeps its deadline
		}
		return stepRun
	case s.rolledBack && s.running == "":
		if s.atHand && (s.drift || s.trigger.Has(due)) {
			return stepRollBack
		}
		return stepRest
	case s.running != "" || !s.ready || !s.known || s.held || s.drift || s.desire != s.settled || s.trigger.Has(due&^kernel.TriggerInterval):
		return stepApply
	case s.ill:
		return stepIll
	case !s.trigger.Has(kernel.TriggerInterval):
		return stepRest
	case s.inStep:
		return stepInStep
	}
	return stepApply
}

// after chooses what follows a job that has ended.
func (s situation) after() step {
	switch {
	case s.rollBack && !s.failed:
		return stepRollBack
	case s.failed, s.ended == s.healthKey, s.ended == s.rollbackKey:
		return stepConclude
	case s.ended == s.handOverKey:
		return stepPrune
	case s.pending:
		return stepHandOver
	case s.waits:
		return stepHealth
	}
	return stepConclude
}

func situationOf(req *request, t *target, mem *memory, done *done, periodic bool) situation {
	s := situation{
		desire: t.full(), settled: mem.settled, known: t.known,
		ready:    apimeta.IsStatusConditionTrue(req.Object.Status.Conditions, meta.ReadyCondition),
		applyKey: t.applyKey(), handOverKey: t.handOverKey(), pruneKey: t.pruneKey(), healthKey: t.healthKey(), rollbackKey: t.rollbackKey(),
		running: req.Running, trigger: req.Trigger, held: mem.held, drift: mem.drift && mem.tracking.due(),
		asked: req.Trigger.Has(kernel.TriggerRequested) && requestedAt(req) != mem.asked,
	}
	if s.trigger.Has(kernel.TriggerInterval) && s.desire == s.settled && !periodic {
		s.inStep = (mem.built == nil || mem.built.pinned) && mem.tracking.inStep()
	}
	if done != nil {
		s.ended, s.failed = done.key, done.err != nil
		s.waits, s.pending = done.applied.mustWait(), len(done.applied.pending) > 0
	}
	return s
}
