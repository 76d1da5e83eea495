package kustomize

import (
	"context"
	"errors"
	"fmt"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	api "github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/apply/health"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kustomize/remote"
)

// applied is what an apply job did, as far as it came.
type applied struct {
	target *target
	// attempted says that the artifact was there and has the path.
	attempted bool
	// built is what was built, nil when it did not come so far.
	built *built
	// set is the digest of what was applied; unchanged says that it was in place already and nothing was asked.
	set       apply.Hash
	unchanged bool
	// prepared says that the set is known, and with it the ignored fields of its objects.
	prepared bool
	ignored  []apply.UnknownField
	// changed are the objects that were created or configured.
	changed apply.ChangeLog
	// previous is the inventory before the job, pending what is left to be pruned, held that objects stay in the
	// inventory until another Kustomization has applied them.
	previous, pending apply.Inventory
	held              bool
	look              look
	// inventory is the new inventory, nil when the old one stays.
	inventory apply.Inventory
	// packed are the objects for a rollback that leads here, nil when none is asked for.
	packed []byte
	// client and objects are for the wait for health.
	client  *apply.Client
	objects []health.Object
}

// mustWait says that the verdict depends on the health of objects.
func (a *applied) mustWait() bool { return !a.unchanged && len(a.objects) > 0 }

// failure is an error with the reason that the tables give it.
type failure struct {
	reason string
	err    error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func failed(reason string, err error) error { return &failure{reason: reason, err: err} }

// reasonOf returns the reason of an error of a job.
func reasonOf(err error) string {
	var f *failure
	if errors.As(err, &f) {
		return f.reason
	}
	return api.ReconciliationFailedReason
}

// job is one run of the apply job. It runs beside passes over the same object, so it works on copies.
type job struct {
	c        *controller
	req      *request
	t        *target
	look     look
	drift    bool
	loud     bool
	held     bool
	built    *built
	applied  apply.Hash
	previous apply.Inventory
	tracking *tracking
	kept     bool // what is healthy is kept for a rollback
	tree     Tree
	remotes  *remote.Session
	result   *applied
}

// work returns the function of the apply job.
func (c *controller) work(req *request, t *target, mem *memory, l look) func(context.Context) (any, error) {
	j := &job{
		c: c, req: req, t: t, look: l, drift: mem.drift, loud: mem.before.loud, held: mem.held, built: mem.built, applied: mem.applied,
		previous: mem.previous(req), tracking: mem.tracking, result: &applied{target: t},
		kept: mem.good != nil,
	}
	mem.drift = false
	return func(ctx context.Context) (any, error) {
		defer j.release()
		err := j.run(ctx)
		return j.result, err
	}
}

func (j *job) release() {
	if j.tree != nil {
		j.tree.Release()
		j.tree = nil
	}
	if j.remotes == nil {
		return
	}
	if err := j.remotes.Close(); err != nil {
		j.req.Log.Info("fetched remote bases were not deleted", "cause", err.Error())
	}
	j.remotes = nil
}

// run fetches, builds, applies and prunes.
func (j *job) run(ctx context.Context) error {
	built, err := j.build(ctx)
	if err != nil {
		return err
	}
	j.result.built = built
	if j.inPlace(built) {
		j.c.desires.tried(j.t)
		j.result.set, j.result.unchanged = j.applied, true
		return nil
	}
	objects, err := j.objects(ctx, built)
	if err != nil {
		return err
	}
	j.packFor(objects)
	client, err := j.c.clientFor(ctx, j.t.object)
	if err != nil {
		return failed(api.ReconciliationFailedReason, fmt.Errorf("failed to build kube client: %w", err))
	}
	j.result.client = client
	defer j.tracking.begin()()
	res, err := j.apply(ctx, objects)
	if err != nil {
		return err
	}
	stale := j.stale(res)
	if len(stale) > 0 && len(j.c.behind(ctx, j.t.name(), j.t.cluster())) > 0 {
		j.result.previous, j.result.pending, j.result.look = j.previous, stale, j.look
		j.result.inventory = j.result.inventory.Union(stale)
		return nil
	}
	if err := j.prune(ctx, stale); err != nil {
		return err
	}
	j.tracking.settle(res.Inventory(), j.look)
	return nil
}

// inPlace says that the same objects were applied before by the same spec, and that this pass need not look at them.
func (j *job) inPlace(b *built) bool {
	if j.t.rollsBack() && !j.kept {
		return false
	}
	return j.look == lookChanged && !j.drift && !j.held && !j.applied.IsZero() && j.built != nil && b.same(j.built) && j.built.generation == j.t.object.Generation
}

// progress reports what the job is at. At an interval that may find nothing, Ready keeps its verdict meanwhile.
func (j *job) progress(format string, args ...any) {
	p := kernel.Progress{Message: fmt.Sprintf(format, args...)}
	if j.result.attempted {
		p.Change = attempting(j.t)
	}
	if j.loud {
		p.Ready = progressReady
	}
	j.req.Progress(p)
}

// attempting shows in the status what revision is being worked on.
func attempting(t *target) func(api.Object) {
	return func(o api.Object) {
		if k, ok := o.(*kustomizev1.Kustomization); ok {
			k.Status.LastAttemptedRevision = t.revision()
		}
	}
}

// progressReady is the message of Ready while an attempt is under way.
const progressReady = "Reconciliation in progress"
