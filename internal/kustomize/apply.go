package kustomize

import (
	"context"
	"errors"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/kustomize/spec"
)

// apply brings the built objects to the cluster.
func (j *job) apply(ctx context.Context, objects []apply.Object) (*apply.Result, error) {
	j.progress("Detecting drift for revision %s with a timeout of %s", j.t.revision(), j.t.timeout)
	set, err := apply.Prepare(ctx, j.result.client, objects, j.preparation())
	if err != nil {
		return nil, failed(meta.ReconciliationFailedReason, j.reached(err))
	}
	j.result.set, j.result.prepared, j.result.ignored = set.Digest(), true, j.ignoredFields(ctx, set)
	j.learn(ctx)
	j.c.desires.note(j.t, j.result.client, set.Inventory())
	res, err := apply.Apply(ctx, set, j.applyOptions())
	j.result.changed = res.Changes.Changed()
	if err != nil {
		j.keepAfterFailure(ctx, res, err)
		return nil, failed(meta.ReconciliationFailedReason, j.reached(err))
	}
	j.result.inventory = notNil(res.Inventory())
	for _, name := range j.c.desires.release(j.result.inventory, j.t.name()) {
		j.c.m.Wake(groupKind, name)
	}
	j.result.objects = j.spare(j.toWaitFor(res))
	j.logApplied(res.Changes)
	if len(j.result.changed) > 0 {
		j.event(changeText(j.result.changed))
	}
	return res, nil
}

// notNil makes an empty inventory differ from one that is not known.
func notNil(inv apply.Inventory) apply.Inventory {
	if inv == nil {
		return apply.Inventory{}
	}
	return inv
}

func (j *job) preparation() apply.Preparation {
	p := spec.Preparation(j.t.object)
	p.StageKinds = j.c.StageKinds
	return p
}

func (j *job) applyOptions() apply.Options {
	tracker, full := j.tracking.options(j.look)
	return apply.Options{
		Client: j.result.client, FieldManager: spec.FieldManager, OverrideManagers: j.c.OverrideManagers,
		Previous: j.previous, BeforeFirstWrite: j.recordUnion, Tracker: tracker, Full: full,
		Force: j.t.spec().Force, Concurrency: j.c.ConcurrentSSA, Ignore: j.t.spec().Ignore,
		MigrateAPIVersion: j.c.m.Gate(GateMigrateAPIVersion),
		ContinueOnError:   j.t.continues(),
	}
}

// recordUnion writes what may exist after a crash before the first object is written.
func (j *job) recordUnion(ctx context.Context, union apply.Inventory) error {
	j.result.inventory = union
	return j.req.Checkpoint(ctx, func(k *kustomizev1.Kustomization) {
		k.Status.Inventory = storedInventory(union)
		k.Status.LastAttemptedRevision = j.t.revision()
	})
}

// phaseDryRun is how apply names the phase before anything is written.
const phaseDryRun = "dry-run"

// keepAfterFailure names the files of refused objects, and drops from the inventory what was refused before it was
// ever written. After any other error an object may have been written without our knowing.
func (j *job) keepAfterFailure(ctx context.Context, res *apply.Result, err error) {
	var refused *apply.FailedError
	if !errors.As(err, &refused) {
		return
	}
	j.c.desires.refuse(j.t.name())
	j.nameFiles(ctx, refused.Failures)
	hintAtFields(refused.Failures, j.result.ignored)
	j.nextSteps(ctx, refused.Failures)
	if j.result.inventory == nil {
		return // nothing new was written
	}
	for _, f := range refused.Failures {
		if f.Phase != phaseDryRun {
			return
		}
	}
	j.result.inventory = notNil(res.Inventory())
}

func (j *job) logApplied(changes apply.ChangeLog) {
	if len(changes.Changed()) == 0 && !j.loud {
		return
	}
	var output any = changes.BySubject()
	if j.c.m.Gate(GateGroupChangeLog) {
		output = changes.ByAction()
	}
	j.req.Log.Info("server-side apply completed", "output", output, "revision", j.t.revision())
}
