package apply

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/api/meta"
)

// Options says how a Set is applied.
type Options struct {
	// Client reaches the cluster as whoever the objects are applied as.
	Client *Client
	// FieldManager owns the fields, for instance "kustomize-controller".
	FieldManager string
	// OverrideManagers are taken over besides kubectl*, before-first-apply and FieldManager with
	// Update; a prefix match.
	OverrideManagers []string
	// Previous is the inventory before this pass.
	Previous Inventory
	// BeforeFirstWrite is called once, before the first object is written, when the set of ids
	// changes: union names all that the owner may be responsible for should we stop half way.
	BeforeFirstWrite func(ctx context.Context, union Inventory) error
	// Tracker knows which objects are in step; nil means nothing is known.
	Tracker Tracker
	// Full looks at every object, in step or not.
	Full bool
	// Force allows every object to be recreated when an immutable field changes.
	Force bool
	// Concurrency bounds the dry-runs, and the writes of one kind, that run side by side; 0 means 4.
	Concurrency int
	// Ignore are fields whose drift is not ours to correct.
	Ignore []meta.IgnoreRule
	// MigrateAPIVersion rewrites the apiVersion of managedFields entries when the server can no
	// longer read them in the version that they name.
	MigrateAPIVersion bool
	// ContinueOnError applies what is valid when other objects are not; the error is returned at
	// the end.
	ContinueOnError bool
	// StageTimeout bounds the wait for what a stage wrote to become ready; 0 means a minute.
	StageTimeout time.Duration
}

// Result is what an Apply did, also when it ended with an error.
type Result struct {
	// Changes has a line for every object that was dealt with, in apply order.
	Changes ChangeLog
	// Applied are the objects of Changes that were not skipped: those to wait for.
	Applied []Applied
	// Previous is the inventory before this pass.
	previous Inventory
	complete bool
}

// Applied is an object that the cluster has as desired.
type Applied struct {
	Ref
	// VanishesWhenDone says that the object is a Job with a time to live: gone means done.
	VanishesWhenDone bool
	// Current says that the server's answer shows the object to be healthy by the rules for its
	// kind, so that it need not be read for that.
	Current bool
}

// Inventory returns what the owner is responsible for now: the objects in apply order, and, if the
// pass did not reach all of them, what the inventory before it named.
func (r *Result) Inventory() Inventory {
	inv := r.Changes.Inventory()
	if r.complete {
		return inv
	}
	return inv.Union(r.previous)
}

// Stale returns the entries of the inventory before this pass that are no longer desired, to be
// pruned; none when the pass did not reach all objects.
func (r *Result) Stale() Inventory {
	if !r.complete {
		return nil
	}
	return r.previous.Without(r.Changes.Inventory())
}

// Apply brings the set to the cluster. The Result is never nil. Errors: FailedError,
// StageError, InterruptedError, or whatever kept the server from being reached.
//
// Apply may wait, for retries and for CRDs to be established: run it in the background.
func Apply(ctx context.Context, set *Set, o Options) (*Result, error) {
	p := newPass(set, o)
	err := p.run(ctx)
	p.result.complete = err == nil
	return p.result, err
}

func newPass(set *Set, o Options) *pass {
	if o.Concurrency <= 0 {
		o.Concurrency = 4
	}
	if o.StageTimeout <= 0 {
		o.StageTimeout = time.Minute
	}
	return &pass{
		Options:  o,
		set:      set,
		policies: Policies(set.owner.Group),
		crds:     definedKinds(set),
		previous: o.Previous.ids(),
		result:   &Result{previous: o.Previous},
	}
}

// pass is the state of one Apply.
type pass struct {
	Options
	set      *Set
	policies Policies
	crds     map[groupKind]bool // kinds that a CRD of the set defines
	previous map[ID]bool        // ids of the inventory before this pass
	rules    []ignoreRule
	result   *Result
	begun    bool // BeforeFirstWrite has been called
	written  int
	failures []Failure // of ContinueOnError
}

func (p *pass) run(ctx context.Context) error {
	rules, err := compileIgnore(p.Ignore)
	if err != nil {
		return err
	}
	p.rules = rules
	for s := range p.set.stages {
		if err := p.stage(ctx, stage(s)); err != nil {
			return err
		}
	}
	if len(p.failures) > 0 {
		return &FailedError{Failures: p.failures, Completed: p.result.Changes.Changed()}
	}
	return nil
}

// stage validates, writes and, where the stage asks for it, waits.
func (p *pass) stage(ctx context.Context, s stage) error {
	items := p.set.stages[s]
	if len(items) == 0 {
		return nil
	}
	completed := p.result.Changes.Changed()
	verdicts, err := p.inspectAll(ctx, items)
	if err != nil {
		return p.interrupted(ctx, err, len(items))
	}
	if err := p.deferDependents(ctx, verdicts, completed); err != nil {
		return err
	}
	verdicts, err = p.refuse(verdicts, completed)
	if err != nil {
		return err
	}
	if err := p.writeAll(ctx, verdicts, completed); err != nil {
		return err
	}
	if s.waits() {
		return p.awaitReady(ctx, verdicts, completed)
	}
	return nil
}

// refuse ends the stage when an object is invalid, or leaves the invalid ones out.
func (p *pass) refuse(verdicts []*verdict, completed ChangeLog) ([]*verdict, error) {
	var valid []*verdict
	var failures []Failure
	for _, v := range verdicts {
		if v.err == nil {
			valid = append(valid, v)
			continue
		}
		failures = append(failures, p.failure(v, phaseDryRun))
	}
	if len(failures) == 0 {
		return verdicts, nil
	}
	if !p.ContinueOnError {
		return nil, &FailedError{Failures: failures, Completed: completed}
	}
	p.failures = append(p.failures, failures...)
	return valid, nil
}

// interrupted turns the end of the context into an InterruptedError and leaves other errors alone.
func (p *pass) interrupted(ctx context.Context, err error, left int) error {
	if ctx.Err() == nil {
		return err
	}
	var already *InterruptedError
	if errors.As(err, &already) {
		return err
	}
	return &InterruptedError{Cause: context.Cause(ctx), Written: p.written, Left: left}
}

// note adds the outcome of one object to the result.
func (p *pass) note(v *verdict, action Action, reclaimed string) {
	ref := v.item.ref
	p.result.Changes = append(p.result.Changes, Change{Ref: ref, Action: action, Reclaimed: reclaimed})
	if action == Skipped {
		return
	}
	p.result.Applied = append(p.result.Applied, Applied{Ref: ref, VanishesWhenDone: vanishes(v.item), Current: v.healthy})
}

func vanishes(it *item) bool {
	if it.ref.Group != "batch" || it.ref.Kind != "Job" {
		return false
	}
	spec, _ := it.obj.Object["spec"].(map[string]any)
	return spec["ttlSecondsAfterFinished"] != nil
}

// inert are kinds that nothing reconciles: written means healthy.
var inert = map[string]bool{
	"/ConfigMap": true, "/Secret": true, "/ServiceAccount": true, "/LimitRange": true,
	"rbac.authorization.k8s.io/Role": true, "rbac.authorization.k8s.io/RoleBinding": true,
	"rbac.authorization.k8s.io/ClusterRole": true, "rbac.authorization.k8s.io/ClusterRoleBinding": true,
	"networking.k8s.io/NetworkPolicy": true, "scheduling.k8s.io/PriorityClass": true,
}

// Inert reports whether nothing reconciles objects of the kind, so that they are healthy by being there.
func Inert(gk schema.GroupKind) bool { return inert[gk.Group+"/"+gk.Kind] }

// current judges by the last answer. What was written just now and has a controller is never taken
// to be current; nor is a Job, of which the general rules only know that it began.
func current(v *verdict) bool {
	kind := v.item.ref.Group + "/" + v.item.ref.Kind
	if v.answer == nil || v.answer.GetDeletionTimestamp() != nil {
		return false
	}
	return inert[kind] || v.decision == decideUnchanged && kind != "batch/Job" && computeStatus(v.answer) == status.CurrentStatus
}

// begin calls BeforeFirstWrite once.
func (p *pass) begin(ctx context.Context) error {
	if p.begun {
		return nil
	}
	p.begun = true
	union := p.set.Inventory().Union(p.Previous)
	if p.BeforeFirstWrite == nil || union.SameIDs(p.Previous) {
		return nil
	}
	if err := p.BeforeFirstWrite(ctx, union); err != nil {
		return fmt.Errorf("record the inventory before the first write: %w", err)
	}
	return nil
}
