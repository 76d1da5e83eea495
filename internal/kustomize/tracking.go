package kustomize

import (
	"context"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/apply/health"
	"github.com/gitops-toolkit/flux/internal/apply/tracker"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/kustomize/spec"
	"github.com/gitops-toolkit/flux/internal/version"
)

// look is how closely a pass looks at the objects.
type look int

const (
	// lookChanged: at those whose desire changed, and at those that the tracker found to have drifted.
	lookChanged look = iota
	// lookUnsure: also at those that the tracker cannot be sure of.
	lookUnsure
	// lookAll: at every object.
	lookAll
)

// tracking is how the objects of one Kustomization are known between passes: by the watches of the tracker in the
// controller's own cluster, by a memory of the last pass elsewhere.
type tracking struct {
	cluster string
	owner   *tracker.Owner // nil elsewhere
	memory  apply.Memory
	// restored is the inputs digest of the last process, until what it had built is known again.
	restored   string
	generation int64 // at which it was restored
}

// options are those of apply for a look.
func (tr *tracking) options(l look) (t apply.Tracker, full bool) {
	switch {
	case tr.owner == nil:
		return &tr.memory, l != lookChanged
	case l == lookChanged:
		return tr.owner.AtRevision(), false
	}
	return tr.owner.AtInterval(), l == lookAll
}

// begin says that a pass runs, until the returned function is called.
func (tr *tracking) begin() (end func()) {
	if tr.owner == nil {
		return func() {}
	}
	return tr.owner.Begin()
}

// settle takes in what is owned after a pass that succeeded.
func (tr *tracking) settle(inv apply.Inventory, l look) {
	if tr.owner == nil {
		tr.memory.Retain(inv)
		return
	}
	tr.owner.Follow(inv)
	if l == lookAll {
		tr.owner.FullPassDone()
	}
}

// due tells whether a drift is to be corrected now.
func (tr *tracking) due() bool { return tr.owner != nil && tr.owner.Due() }

// inStep tells whether a look at the interval would find nothing.
func (tr *tracking) inStep() bool {
	return tr.owner != nil && !tr.owner.FullPassDue() && len(tr.owner.Drifts()) == 0
}

// digest is what the status keeps for a restart, "" when there is nothing that can be relied on.
func (tr *tracking) digest() string {
	if tr.owner == nil {
		return ""
	}
	return tr.owner.Digest()
}

// startTracker starts the tracker when it is first needed: a process that does not lead watches nothing.
func (c *controller) startTracker() *tracker.Tracker {
	c.trackerOnce.Do(func() {
		c.vigil = health.NewVigil(c.ctx, c.notifyHealth)
		client, err := c.Clients.Get(c.m.RESTConfig(), "")
		if err == nil {
			client, err = client.WithMetadata(c.m.WatchConfig())
		}
		if err != nil {
			return // every Kustomization will tell the same cause when it is applied
		}
		c.notices.Wake = func(key tracker.Key) { c.m.Wake(groupKind, types.NamespacedName(key)) }
		c.tracker = tracker.New(c.ctx, tracker.Options{
			Client: client, FieldManager: spec.FieldManager, OverrideManagers: c.OverrideManagers, OwnerGroup: groupKind.Group,
			Notify: c.notices.Drift, Fight: c.notices.Fight, Log: c.logTracker, FullPassInterval: c.FullPassInterval,
			Seen: func(key tracker.Key, id apply.ID) { c.vigil.Touch(health.Key(key), id) },
		})
	})
	return c.tracker
}

// track makes sure that the objects of a Kustomization are followed as its spec asks for.
func (c *controller) track(req *request, t *target, mem *memory) {
	if mem.tracking == nil || mem.tracking.cluster != t.cluster() {
		c.untrack(t.name())
		mem.tracking = &tracking{cluster: t.cluster()}
		if t.cluster() == "" {
			if tr := c.startTracker(); tr != nil {
				mem.tracking.owner = tr.Owner(tracker.Key(t.name()))
				mem.tracking.owner.Follow(mem.previous(req))
			}
		}
	}
	if o := mem.tracking.owner; o != nil {
		o.Configure(t.object.GetInterval(), c.immediate(t.object))
	}
}

// untrack forgets the objects of a Kustomization.
func (c *controller) untrack(name types.NamespacedName) {
	if c.tracker != nil {
		c.tracker.Release(tracker.Key(name))
		c.vigil.Drop(health.Key(name))
	}
}

// immediate tells whether drift is corrected when it happens.
func (c *controller) immediate(k *kustomizev1.Kustomization) bool {
	switch strings.ToLower(k.Annotations[driftCorrectionAnnotation]) {
	case "immediate":
		return true
	case "interval":
		return false
	}
	return !c.CorrectAtInterval
}

// tellFights reports managers that take back what was corrected.
func tellFights(req *request, t *target, fights []tracker.Drift) {
	for _, d := range fights {
		if message := d.Contested(spec.FieldManager, t.object.GetInterval()); message != "" {
			req.Event(kernel.Normal(tracker.ContestedReason, message, t.metadata()))
		}
	}
}

// changeText is the event of an apply: what changed, and where somebody had taken fields, which and who.
func changeText(changes apply.ChangeLog) string {
	var lines []string
	for _, change := range changes {
		lines = append(lines, change.String())
		if change.Reclaimed != "" {
			lines = append(lines, "  put back: "+change.Reclaimed)
		}
	}
	return strings.Join(lines, "\n")
}

// inputs is a digest of all that decides what the target applies and that can be known without building it.
func (c *controller) inputs(t *target) string {
	return "sha256:" + digestOf(programVersion(), t.full(), c.m.Gate(kernel.GateStrictPostBuildSubstitutions),
		c.m.ServiceAccount(t.spec().ServiceAccountName), c.OverrideManagers, c.Remotes != nil)
}

// programVersion tells builds of this program apart, also those of the same release.
var programVersion = sync.OnceValue(func() string {
	v := version.Version
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" || s.Key == "vcs.modified" {
				v += "+" + s.Value
			}
		}
	}
	return v
})

// proof returns what the status keeps so that a restarted process can see that nothing happened meanwhile.
func (c *controller) proof(t *target, mem *memory, b *built) (tracked, inputs string) {
	if b == nil || !b.pinned || !t.known || mem.held {
		return "", ""
	}
	if tracked = mem.tracking.digest(); tracked == "" {
		return "", ""
	}
	inputs = c.inputs(t)
	if key := b.key(); key != "" && mem.remembered != inputs+key {
		c.builds.remember(string(t.object.UID), inputs, key)
		mem.remembered = inputs + key
	}
	return tracked, inputs
}

// syncKey is the key of the job that waits for the first lists of the tracker.
const syncKey = "sync"

// syncPatience is how long it waits; then every object is looked at.
const syncPatience = 30 * time.Second

// resume takes a Kustomization over from the last process where its status proves that nothing happened since. The
// outcome is nil when there is no such proof.
func (c *controller) resume(req *request, t *target, mem *memory) *kernel.Outcome {
	if !mem.fresh {
		return nil
	}
	status := &req.Object.Status
	waited := req.Job != nil && req.Job.Key == syncKey
	proven := mem.tracking.owner != nil && t.known && status.Tracked != "" && status.Inputs == c.inputs(t) &&
		status.LastAppliedRevision == t.revision() && apimeta.IsStatusConditionTrue(status.Conditions, meta.ReadyCondition) &&
		!req.Trigger.Has(kernel.TriggerSpec|kernel.TriggerRequested) && !c.m.Gate(kernel.GatePeriodicEvents)
	if !proven {
		return nil
	}
	if !mem.tracking.owner.Synced() && !waited {
		return stop(kernel.Working(kernel.Job{Key: syncKey, Waits: true, Run: func(ctx context.Context) (any, error) {
			return nil, awaitSync(ctx, mem.tracking.owner)
		}}))
	}
	mem.fresh = false
	client, err := c.clientFor(c.ctx, t.object)
	if err != nil || !mem.tracking.owner.Restore(status.Tracked) {
		return nil
	}
	inv := inventoryOf(status.Inventory)
	mem.settled, mem.concluded = t.full(), true
	mem.tracking.restored, mem.tracking.generation = status.Inputs, t.object.Generation
	c.desires.note(t, client, inv)
	c.resumeVigil(t, mem, client, inv)
	return stop(c.concludeInStep(req, t))
}

// awaitSync waits until the tracker has listed all kinds of an owner, or has waited long enough.
func awaitSync(ctx context.Context, o *tracker.Owner) error {
	ctx, cancel := context.WithTimeout(ctx, syncPatience)
	defer cancel()
	for step := 20 * time.Millisecond; !o.Synced(); step = min(2*step, time.Second) {
		timer := time.NewTimer(step)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
	return nil
}

// learn tells the tracker what a restored Kustomization had wanted, if what was built then is still at hand.
func (j *job) learn(ctx context.Context) {
	tr := j.tracking
	if tr.restored == "" {
		return
	}
	inputs := tr.restored
	tr.restored = ""
	if tr.generation != j.t.object.Generation {
		return // the spec may have added labels since
	}
	key := j.c.builds.recall(string(j.t.object.UID), inputs)
	if key == "" {
		return
	}
	objects, ok := j.c.builds.get(key)
	if !ok {
		return
	}
	if set, err := apply.Prepare(ctx, j.result.client, objects, j.preparation()); err == nil {
		tr.owner.Learn(set.Hashes())
	}
}

func (c *controller) logTracker(message string, keysAndValues ...any) {
	c.m.Log().Info(message, keysAndValues...)
}
