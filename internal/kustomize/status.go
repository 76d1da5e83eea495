package kustomize

import (
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/artifact/fetch"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// heldPatience is how soon to look again at objects that another Kustomization is about to take over.
const heldPatience = 5 * time.Second

// maxHistory is how many entries status.history has.
const maxHistory = 5

// conclude turns the end of the work into status, events and the outcome.
func (c *controller) conclude(req *request, t *target, mem *memory, d *done) kernel.Outcome {
	status := &req.Object.Status
	if d.applied.attempted {
		status.LastAttemptedRevision = t.revision()
	}
	if mem.inventory != nil {
		status.Inventory = storedInventory(mem.inventory)
	}
	mem.wait, mem.settled, mem.applied, mem.concluded = nil, "", apply.Hash{}, true
	c.desires.tried(t)
	if d.key == t.rollbackKey() && mem.rollback != nil {
		return c.concludeRollback(req, t, mem, d)
	}
	req.RemoveCondition(RolledBackCondition)
	newFields := judgeFields(req, d.applied)
	switch {
	case errors.Is(d.err, fetch.ErrNotFound):
		return kernel.Waiting(meta.ArtifactFailedReason, c.notServed(), c.m.Settings().RequeueDependency)
	case d.err != nil:
		return c.concludeFailure(req, t, d)
	case d.health != nil && d.health.err != nil:
		return c.concludeUnhealthy(req, t, mem, d)
	}
	return c.concludeSuccess(req, t, mem, d, newFields)
}

func (c *controller) concludeFailure(req *request, t *target, d *done) kernel.Outcome {
	reason := reasonOf(d.err)
	if reason == meta.ReconciliationFailedReason || reason == meta.PruneFailedReason {
		c.snapshot(req, t, d.applied, reason, false)
	}
	return kernel.Failed(reason, d.err).WithMetadata(t.metadata())
}

// concludeUnhealthy reports objects that did not become healthy. Healthy has the bare text, Ready how long it took.
// A repetition that found the same is not told again.
func (c *controller) concludeUnhealthy(req *request, t *target, mem *memory, d *done) kernel.Outcome {
	text := d.health.err.Error()
	if d.health.details != "" {
		text += "\n" + d.health.details
	}
	req.SetCondition(meta.HealthyCondition, metav1.ConditionFalse, meta.HealthCheckFailedReason, text)
	c.snapshot(req, t, d.applied, meta.HealthCheckFailedReason, false)
	err := fmt.Errorf("health check failed after %s: %s", d.health.duration, text)
	if b := mem.before; b.ill == text && b.attempted == t.revision() && len(d.applied.changed) == 0 &&
		!req.Trigger.Has(kernel.TriggerSpec|kernel.TriggerRequested) && !c.m.Gate(kernel.GatePeriodicEvents) {
		return kernel.Failed(meta.HealthCheckFailedReason, err).WithMessage(b.illReady).WithoutEvent()
	}
	return kernel.Failed(meta.HealthCheckFailedReason, err).WithMetadata(t.metadata())
}

func (c *controller) concludeSuccess(req *request, t *target, mem *memory, d *done, newFields bool) kernel.Outcome {
	status := &req.Object.Status
	c.keepVigil(t, mem, d)
	c.rememberGood(t, mem, d.applied)
	newRevision := status.LastAppliedRevision != t.revision()
	changed := len(d.applied.changed) > 0
	var events []kernel.Event
	if message, told := judgeHealth(req, t, mem, d, newRevision && changed); told {
		events = append(events, healthy(t, message))
	}
	if len(d.applied.ignored) > 0 && (newFields || newRevision) {
		events = append(events, kernel.Warning(unknownFieldReason, fieldsText(d.applied.ignored), t.metadata()))
	}
	status.LastAppliedRevision = t.revision()
	status.LastAppliedOriginRevision = t.ref.OriginRevision()
	status.LastAttemptedRevision = t.revision()
	status.Tracked, status.Inputs = c.proof(t, mem, d.applied.built)
	c.snapshot(req, t, d.applied, meta.ReconciliationSucceededReason, newRevision || changed)
	mem.settled, mem.applied = t.full(), d.applied.set
	events = append(events, finished(t, time.Since(req.Started), newRevision))
	outcome := kernel.Done(meta.ReconciliationSucceededReason, "Applied revision: "+t.revision()).
		WithMetadata(t.metadata()).WithEvents(events...)
	if mem.held {
		// The new owner wakes us; should it have been quicker than we, this does.
		return outcome.RetryAfter(min(t.object.GetInterval(), heldPatience))
	}
	return outcome
}

// concludeInStep is the end of an attempt that found by what the watches show that everything is as it should be.
func (c *controller) concludeInStep(req *request, t *target) kernel.Outcome {
	return kernel.Done(meta.ReconciliationSucceededReason, "Applied revision: "+t.revision()).
		WithMetadata(t.metadata()).WithEvents(finished(t, time.Since(req.Started), false))
}

// judgeHealth sets the condition Healthy. It moves only when there is news, so that a look at the interval writes
// nothing; it goes when nothing is checked. told says that an event is due.
func judgeHealth(req *request, t *target, mem *memory, d *done, changed bool) (message string, told bool) {
	switch {
	case !t.spec().Wait && len(t.spec().HealthChecks) == 0:
		req.RemoveCondition(meta.HealthyCondition)
		return "", false
	case d.applied.unchanged:
		return "", false // what was healthy before is not asked again
	case d.health == nil:
		req.RemoveCondition(meta.HealthyCondition) // an empty set
		return "", false
	}
	message = fmt.Sprintf("Health check passed in %s", d.health.duration)
	told = !mem.before.healthy || changed
	now := req.Condition(meta.HealthyCondition)
	if told || mem.before.loud || now == nil || now.Status != metav1.ConditionTrue {
		req.SetCondition(meta.HealthyCondition, metav1.ConditionTrue, meta.SucceededReason, message)
	}
	return message, told
}

// snapshot records the attempt in status.history. A repetition that found nothing new is not recorded, unless it was
// asked for or upstream's cadence is.
func (c *controller) snapshot(req *request, t *target, a *applied, result string, news bool) {
	if a.built == nil {
		return
	}
	status := &req.Object.Status
	entry := kustomizev1.Snapshot{
		Digest: a.built.digest, LastReconciledStatus: result, Metadata: t.metadata(),
		LastReconciled: meta.NewTime(time.Now()), LastReconciledDuration: meta.NewDuration(time.Since(req.Started)),
	}
	news = news || req.Trigger.Has(kernel.TriggerRequested|kernel.TriggerSpec) || c.m.Gate(kernel.GatePeriodicEvents)
	if !news && len(status.History) > 0 && repeats(status.History[0], entry) {
		return
	}
	status.History = recordSnapshot(status.History, entry)
}

// repeats says that an attempt came to the same end as the last one recorded.
func repeats(last, entry kustomizev1.Snapshot) bool {
	return last.Digest == entry.Digest && last.LastReconciledStatus == entry.LastReconciledStatus &&
		last.Metadata["revision"] == entry.Metadata["revision"]
}

// recordSnapshot counts an attempt: the entry of the same digest and result moves to the front, or a new one is put
// there.
func recordSnapshot(history []kustomizev1.Snapshot, entry kustomizev1.Snapshot) []kustomizev1.Snapshot {
	entry.FirstReconciled, entry.TotalReconciliations = entry.LastReconciled, 1
	history = slices.Clone(history)
	i := slices.IndexFunc(history, func(s kustomizev1.Snapshot) bool {
		return s.Digest == entry.Digest && s.LastReconciledStatus == entry.LastReconciledStatus
	})
	if i >= 0 {
		entry.FirstReconciled = history[i].FirstReconciled
		entry.TotalReconciliations += history[i].TotalReconciliations
		history = slices.Delete(history, i, i+1)
	}
	history = slices.Insert(history, 0, entry)
	return history[:min(len(history), maxHistory)]
}
