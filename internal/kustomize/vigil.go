package kustomize

import (
	"k8s.io/apimachinery/pkg/types"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/apply/health"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Health after success: the vigil watches what a Kustomization has waited for. It is asked here, and told when there
// is something new to watch.

func (c *controller) notifyHealth(key health.Key) {
	c.m.Wake(groupKind, types.NamespacedName{Namespace: key.Namespace, Name: key.Name})
}

func (t *target) healthKeyOf() health.Key { return health.Key(t.name()) }

// checksHealth tells whether the verdict depends on the health of objects.
func (t *target) checksHealth() bool { return t.spec().Wait || len(t.spec().HealthChecks) > 0 }

// keepVigil begins to watch what has just been found healthy, or ends that where nothing is checked any more.
func (c *controller) keepVigil(t *target, mem *memory, d *done) {
	switch {
	case c.vigil == nil:
	case !t.checksHealth() || mem.tracking.owner == nil:
		c.vigil.Drop(t.healthKeyOf())
	case d.health != nil && d.applied.client != nil && !d.judged:
		c.vigil.Keep(t.healthKeyOf(), c.charge(t, mem, d.applied.client, d.applied.objects))
	}
}

func (c *controller) charge(t *target, mem *memory, client *apply.Client, objects []health.Object) health.Charge {
	o := c.healthOptions(t, client, t.timeout)
	return health.Charge{Objects: objects, Options: o, Sees: mem.tracking.owner.Sees}
}

// resumeVigil watches what an earlier process has found healthy.
func (c *controller) resumeVigil(t *target, mem *memory, client *apply.Client, inv apply.Inventory) {
	if c.vigil == nil || !t.checksHealth() {
		return
	}
	var objects []health.Object
	if t.spec().Wait {
		for _, e := range inv {
			if ref, ok := e.Ref(); ok && !t.isSelf(ref) {
				objects = append(objects, health.Object{Ref: ref})
			}
		}
	} else {
		objects = t.checked()
	}
	c.vigil.Keep(t.healthKeyOf(), c.charge(t, mem, client, objects))
}

// opinion asks the vigil where its answer can change what is done: while the Kustomization is Ready.
func (c *controller) opinion(req *request, t *target, s situation) health.Opinion {
	healthy := apimeta.IsStatusConditionTrue(req.Object.Status.Conditions, meta.HealthyCondition)
	if c.vigil == nil || !s.ready || !healthy || !t.checksHealth() {
		return health.Opinion{}
	}
	return c.vigil.Opinion(t.healthKeyOf(), s.trigger.Has(kernel.TriggerInterval))
}

// fallenIll is the end of an attempt that found what was healthy to be so no more.
func (c *controller) fallenIll(t *target, mem *memory, o health.Opinion) *done {
	mem.before.ill = "" // this is news, whatever was said before
	return &done{
		key: t.healthKey(), judged: true, applied: &applied{target: t, attempted: true, built: mem.built},
		health: &healthResult{err: o.Err, details: o.Details, duration: o.Lasted},
	}
}

// judgeByVigil spares the wait after an apply that changed nothing, where the vigil knows how things stand.
func (c *controller) judgeByVigil(req *request, t *target, mem *memory, d *done) {
	if c.vigil == nil || d == nil || d.err != nil || d.key == t.healthKey() || d.key == t.handOverKey() || len(d.applied.pending) > 0 ||
		!d.applied.mustWait() || len(d.applied.changed) > 0 || mem.tracking.owner == nil || req.Trigger.Has(kernel.TriggerSpec|kernel.TriggerRequested) {
		return
	}
	o := c.vigil.Opinion(t.healthKeyOf(), true)
	if !o.Known || !o.Healthy && o.Err == nil {
		return
	}
	d.key, d.judged = t.healthKey(), true
	d.health = &healthResult{err: o.Err, details: o.Details, duration: o.Lasted}
}

// spare marks the objects that need not be read after an apply: those that the vigil knows to be current and that the
// apply left alone. A pass that was asked for reads all.
func (j *job) spare(objects []health.Object) []health.Object {
	if j.c.vigil == nil || j.look == lookAll {
		return objects
	}
	current := j.c.vigil.Current(j.t.healthKeyOf())
	for _, change := range j.result.changed {
		delete(current, change.ID())
	}
	for i := range objects {
		objects[i].Current = objects[i].Current || current[objects[i].ID()]
	}
	return objects
}
