package kustomize

import (
	"cmp"
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/apply/health"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// checkpointDelay is how long a wait lasts before the new inventory is written ahead of the verdict.
const checkpointDelay = time.Second

// healthResult is the end of a wait.
type healthResult struct {
	err      error
	details  string
	duration time.Duration
}

// toWaitFor lists the objects whose health the verdict depends on: all that were applied, or those that the spec
// names. The Kustomization itself would wait for its own end.
func (j *job) toWaitFor(res *apply.Result) []health.Object {
	if j.t.spec().Wait {
		return health.FromApplied(res.Applied, j.t.isSelf)
	}
	return j.t.checked()
}

// isSelf tells whether an object is the Kustomization itself.
func (t *target) isSelf(ref apply.Ref) bool {
	return ref.GroupKind() == groupKind && ref.Name == t.object.Name && ref.Namespace == t.object.Namespace
}

// checked are the objects that spec.healthChecks names.
func (t *target) checked() []health.Object {
	var objects []health.Object
	for _, check := range t.spec().HealthChecks {
		if ref := checkedRef(check); !t.isSelf(ref) {
			objects = append(objects, health.Object{Ref: ref})
		}
	}
	return objects
}

func checkedRef(check meta.NamespacedObjectKindReference) apply.Ref {
	gvk := schema.FromAPIVersionAndKind(cmp.Or(check.APIVersion, "apps/v1"), check.Kind)
	return apply.Ref{GroupVersionKind: gvk, Namespace: check.Namespace, Name: check.Name}
}

// tellCut says that a wait ended without a verdict because there are other objects to wait for now.
func tellCut(req *request, t *target, mem *memory, a *applied) {
	cut := mem.wait
	if cut == nil || cut.set == a.set && cut.generation == t.object.Generation {
		return
	}
	cause := kernel.Reference{Kind: kustomizev1.KustomizationKind, Namespace: t.object.Namespace, Name: t.object.Name}
	if cut.revision != t.revision() {
		cause = sourceReference(t.object)
	}
	mem.wait = nil
	req.Event(kernel.Normal(meta.HealthCheckCanceledReason,
		fmt.Sprintf("Health checks canceled due to new reconciliation triggered by %s", cause), t.metadata()))
}

// healthJob waits for the health of what was applied. A wait that a newer revision of the same objects interrupted
// goes on where it was.
func (c *controller) healthJob(req *request, t *target, mem *memory, a *applied) kernel.Job {
	if mem.wait == nil || mem.wait.set != a.set || mem.wait.generation != t.object.Generation {
		mem.wait = &wait{set: a.set, generation: t.object.Generation, begun: time.Now()}
	}
	mem.wait.revision = t.revision()
	mem.result = a
	begun, loud, inventory := mem.wait.begun, mem.before.loud, mem.inventory
	return kernel.Job{Key: t.healthKey(), Waits: true, Run: func(ctx context.Context) (any, error) {
		reportWait(req, t, loud)
		ahead := time.AfterFunc(checkpointDelay, func() { writeAhead(ctx, req, t, inventory) })
		defer ahead.Stop()
		res := health.Wait(ctx, a.objects, c.healthOptions(t, a.client, max(t.timeout-time.Since(begun), time.Second)))
		duration := time.Since(begun)
		if res.Cancelled {
			return nil, res.Err
		}
		return &healthResult{err: res.Err, details: res.Details, duration: duration}, nil
	}}
}

func (c *controller) healthOptions(t *target, client *apply.Client, timeout time.Duration) health.Options {
	o := health.Options{
		Client: client, Timeout: timeout, Exprs: t.exprs.Health,
		ExprsForJobs:    t.spec().KubeConfig != nil || c.m.ServiceAccount(t.spec().ServiceAccountName) != "",
		DisableFailFast: c.m.Gate(GateDisableFailFast),
	}
	if t.spec().KubeConfig == nil {
		o.Watch = c.Health
	}
	return o
}

// reportWait says that the wait is under way.
func reportWait(req *request, t *target, loud bool) {
	message := fmt.Sprintf("Running health checks for revision %s with a timeout of %s", t.revision(), t.timeout)
	p := kernel.Progress{Message: message, Change: attempting(t)}
	if loud {
		p.Ready = progressReady
		p.Conditions = []metav1.Condition{{
			Type: meta.HealthyCondition, Status: metav1.ConditionUnknown, Reason: meta.ProgressingReason, Message: message,
		}}
	}
	req.Progress(p)
}

// writeAhead writes the inventory while the wait goes on, so that observers see what is applied.
func writeAhead(ctx context.Context, req *request, t *target, inventory apply.Inventory) {
	if inventory == nil || inventory.SameIDs(inventoryOf(req.Object.Status.Inventory)) {
		return
	}
	err := req.Checkpoint(ctx, func(k *kustomizev1.Kustomization) {
		k.Status.Inventory = storedInventory(inventory)
		k.Status.LastAttemptedRevision = t.revision()
	})
	if err != nil && ctx.Err() == nil {
		req.Log.V(1).Info("the inventory was not written ahead", "cause", err.Error())
	}
}
