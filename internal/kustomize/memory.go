package kustomize

import (
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// memory is what the process remembers of one Kustomization between passes. Only Reconcile changes it; jobs get
// copies of what they need, and the tracking guards itself.
type memory struct {
	tracking *tracking
	// remembered is what builds.remember was told last.
	remembered string
	// fresh says that nothing was decided about the Kustomization in this process.
	fresh bool
	// drift says that the tracker found something since the last apply began.
	drift bool
	// built is the last build.
	built *built
	// settled is the desire of the last success, "" when the last verdict was another.
	settled string
	// applied is the digest of the set that was last applied completely and, where asked for, found healthy.
	applied apply.Hash
	// inventory is what the last job left, until the next attempt begins: the patch with the verdict may fail.
	inventory apply.Inventory
	concluded bool
	// held says that the inventory has objects that wait to be applied by another Kustomization.
	held bool
	// wait is the wait for health that runs or was interrupted.
	wait *wait
	// result is the end of the apply job whose objects are being waited for.
	result *applied
	// before is how things stood when the attempt began.
	before standing
	// good is what was healthy last, where a rollback is asked for, and rollback the one that stands.
	good     *good
	rollback *rollback
	// asked is the request by annotation that the attempt runs for, or that was there when it began.
	asked string
}

// standing is what observers saw before an attempt.
type standing struct {
	healthy bool
	// ill is the message of Healthy and illReady that of Ready where the last verdict was about health, else empty;
	// attempted is the revision of that verdict.
	ill, illReady, attempted string
	// loud says that the attempt is more than a look at the interval, so that its progress may change Ready.
	loud bool
}

// wait is a wait for health, which survives a new revision of the same objects.
type wait struct {
	set        apply.Hash
	generation int64
	revision   string
	begun      time.Time
}

func memoryOf(req *request) *memory {
	mem, ok := req.Memory().(*memory)
	if !ok {
		mem = &memory{fresh: true}
		req.Remember(mem)
	}
	return mem
}

// done is a job that came to its end for the present desire.
type done struct {
	key     string
	err     error
	applied *applied
	health  *healthResult
	// judged says that health is the opinion of the vigil, so that it goes on.
	judged bool
}

// take learns from a job that has ended. It returns nil when there is none, or when it served another desire: then
// only what it did counts.
func (m *memory) take(req *request, t *target) *done {
	job := req.Job
	if job == nil {
		return nil
	}
	if result, ok := job.Value.(*applied); ok && result != nil {
		m.learn(result)
	}
	if job.Superseded || !slices.Contains(t.keys(), job.Key) {
		return nil
	}
	d := &done{key: job.Key, err: job.Err}
	switch value := job.Value.(type) {
	case *applied:
		d.applied = value
	case *healthResult:
		d.applied, d.health = m.result, value
	case nil:
		d.applied = m.result // of the wait before a prune
	}
	if d.applied == nil {
		d.applied = &applied{target: t}
	}
	return d
}

// learn keeps what a job found out and did, whether its desire is still the newest or not.
func (m *memory) learn(result *applied) {
	if result.built != nil {
		m.built = result.built
	}
	if result.inventory != nil {
		m.inventory, m.held = result.inventory, result.held
	}
}

func requestedAt(req *request) string {
	return req.Object.GetAnnotations()[meta.ReconcileRequestAnnotation]
}

// begin notes how things stand when an attempt begins, and tells how closely the objects have to be looked at.
func (m *memory) begin(req *request, t *target) look {
	m.fresh = false
	m.asked = requestedAt(req)
	if m.concluded {
		m.inventory, m.result, m.concluded = nil, nil, false
	}
	status := &req.Object.Status
	ready := apimeta.IsStatusConditionTrue(status.Conditions, meta.ReadyCondition)
	if m.wait == nil {
		m.before.healthy = apimeta.IsStatusConditionTrue(status.Conditions, meta.HealthyCondition)
	}
	m.before.rememberIllness(status)
	m.before.loud = !ready || status.LastAppliedRevision != t.revision() || req.Trigger.Has(kernel.TriggerSpec|kernel.TriggerRequested)
	interval := req.Trigger.Has(kernel.TriggerNew | kernel.TriggerInterval)
	switch {
	case req.Trigger.Has(kernel.TriggerRequested), interval && m.tracking.owner != nil && m.tracking.owner.FullPassDue():
		return lookAll
	case interval, m.settled == "":
		return lookUnsure
	}
	return lookChanged
}

// rememberIllness notes a verdict about health, unless progress stands in its place for the moment.
func (s *standing) rememberIllness(status *kustomizev1.KustomizationStatus) {
	healthy := apimeta.FindStatusCondition(status.Conditions, meta.HealthyCondition)
	ready := apimeta.FindStatusCondition(status.Conditions, meta.ReadyCondition)
	switch {
	case healthy == nil || ready == nil || healthy.Status == metav1.ConditionTrue:
		s.ill, s.illReady = "", ""
	case healthy.Status == metav1.ConditionFalse && ready.Status == metav1.ConditionFalse:
		s.ill, s.illReady, s.attempted = healthy.Message, ready.Message, status.LastAttemptedRevision
	}
}

// previous is the inventory before a job.
func (m *memory) previous(req *request) apply.Inventory {
	if m.inventory != nil {
		return m.inventory
	}
	return inventoryOf(req.Object.Status.Inventory)
}

func inventoryOf(stored *meta.ResourceInventory) apply.Inventory {
	if stored == nil {
		return nil
	}
	inv := make(apply.Inventory, len(stored.Entries))
	for i, e := range stored.Entries {
		inv[i] = apply.Entry{ID: apply.ID(e.ID), Version: e.Version}
	}
	return inv
}

func storedInventory(inv apply.Inventory) *meta.ResourceInventory {
	stored := &meta.ResourceInventory{Entries: make([]meta.ResourceRef, len(inv))}
	for i, e := range inv {
		stored.Entries[i] = meta.ResourceRef{ID: string(e.ID), Version: e.Version}
	}
	return stored
}
