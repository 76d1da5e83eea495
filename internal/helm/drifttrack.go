package helm

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/apply/tracker"
	"github.com/gitops-toolkit/flux/internal/helm/kube"
	"github.com/gitops-toolkit/flux/internal/helm/postrender"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// groupKind is that of HelmReleases.
var groupKind = helmv2.GroupVersion.WithKind(helmv2.HelmReleaseKind).GroupKind()

// look is how closely an attempt looks at the objects of a release.
type look int

const (
	// lookAll: at every object.
	lookAll look = iota
	// lookUnsure: at those that the watches do not show to be in step.
	lookUnsure
	// lookNoticed: at those that the watches show to have drifted.
	lookNoticed
)

// watching follows the objects of one release by the watches of the tracker. A nil watching looks at everything.
type watching struct {
	owner *tracker.Owner
	// left are the lines of objects that have drifted and were left as they are. Only one attempt at a time uses it.
	left map[apply.ID]string
}

// startTracker starts the tracker when a release first asks for it.
func (c *controller) startTracker() *tracker.Tracker {
	c.trackerOnce.Do(func() {
		cluster, err := c.Clusters.Get(c.m.RESTConfig(), "")
		if err != nil {
			return // every release will tell the same cause
		}
		c.notices.Wake = func(key tracker.Key) { c.m.Wake(groupKind, types.NamespacedName(key)) }
		c.tracker = tracker.New(c.ctx, tracker.Options{
			Client: cluster.Apply(), FieldManager: kube.FieldManager, OverrideManagers: c.OverrideManagers, OwnerGroup: groupKind.Group, Updates: true,
			Notify: c.notices.Drift, Fight: c.notices.Fight, Log: func(message string, kv ...any) { c.m.Log().Info(message, kv...) },
		})
	})
	return c.tracker
}

// watchFor follows the objects of a release that asks for it, in the controller's own cluster.
func (c *controller) watchFor(req *request, t *target, mem *memory) {
	switch {
	case !c.looksForDrift(t) || t.spec().KubeConfig != nil:
		if mem.watch != nil {
			c.tracker.Release(tracker.Key(t.name()))
			mem.watch = nil
		}
	case mem.watch == nil:
		if tr := c.startTracker(); tr != nil {
			mem.watch = &watching{owner: tr.Owner(tracker.Key(t.name()))}
		}
	}
	if mem.watch == nil {
		return
	}
	mem.watch.owner.Configure(t.object.GetInterval(), true)
	drift, fights := c.notices.Take(tracker.Key(t.name()))
	mem.drift = mem.drift || drift
	for _, d := range fights {
		if message := d.Contested(kube.FieldManager, t.object.GetInterval()); message != "" {
			req.Event(kernel.Normal(tracker.ContestedReason, message, nil))
		}
	}
}

// howClosely tells how closely an attempt has to look at the objects, should it take no other step before.
func (c *controller) howClosely(req *request, t *target, mem *memory) look {
	switch {
	case mem.watch == nil, mem.settled != t.full(), mem.watch.owner.FullPassDue(), !c.untouched(t, mem),
		req.Trigger.Has(kernel.TriggerNew | kernel.TriggerSpec | kernel.TriggerRequested):
		return lookAll
	case req.Trigger.Has(kernel.TriggerInterval):
		return lookUnsure
	}
	return lookNoticed
}

// inStep tells whether the watches show that nothing drifted.
func (w *watching) inStep() bool {
	return w != nil && !w.owner.FullPassDue() && len(w.owner.Drifts()) == 0
}

// passesOver tells whether an attempt need not look at an object.
func (w *watching) passesOver(id apply.ID, closely look) bool {
	switch {
	case w == nil || closely == lookAll:
		return false
	case closely == lookUnsure:
		return w.owner.AtInterval().InStep(id, apply.Hash{})
	}
	return w.owner.AtRevision().InStep(id, apply.Hash{})
}

func (w *watching) begin() (end func()) {
	if w == nil {
		return func() {}
	}
	return w.owner.Begin()
}

// lineOf is what an earlier attempt said of an object that it left as it was, "" for one that was in step.
func (w *watching) lineOf(id apply.ID) string {
	if w == nil {
		return ""
	}
	return w.left[id]
}

// explain says which fields a correction put back, and who had taken them.
func (w *watching) explain(d *compared) string {
	if w == nil {
		return ""
	}
	asApplied(d)
	return w.owner.AtInterval().Explain(d.ref.ID(), d.live)
}

// asApplied makes what Helm wrote from the client's side look like what it applied.
func asApplied(d *compared) {
	d.live.SetManagedFields(apply.UpdatesAsApplies(d.live.GetManagedFields(), kube.FieldManager))
}

// settle takes in how the objects are that were looked at, now that they are as they should be, or as they are left.
func (w *watching) settle(a *attempt, all []*compared) {
	if w == nil {
		return
	}
	var inv apply.Inventory
	for _, d := range all {
		if !d.exempt {
			inv = append(inv, apply.Entry{ID: d.ref.ID(), Version: d.ref.Version})
		}
	}
	w.owner.Follow(inv)
	if a.look == lookAll || w.left == nil {
		w.left = map[apply.ID]string{}
	}
	origin, view := postrender.Origin(a.hr.Namespace, a.hr.Name), w.owner.AtInterval()
	for _, d := range all {
		if d.passed || d.exempt {
			continue
		}
		delete(w.left, d.ref.ID())
		if d.drifted() {
			w.left[d.ref.ID()] = d.line()
		}
		if d.live == nil {
			continue
		}
		asApplied(d)
		entry := apply.EntryHash(d.live, kube.FieldManager)
		view.Note(d.ref.ID(), apply.Record{
			UID: d.live.GetUID(), ResourceVersion: d.live.GetResourceVersion(), Generation: d.live.GetGeneration(),
			Entry: entry, Meta: apply.MetaHash(d.live, kube.FieldManager),
			// Of an object that is left as it is, our entry does not tell when it is mended.
			Watchable: !entry.IsZero() && len(d.paths) == 0 && !d.excluded && !d.drifted() && !ownsText(d.live) && contains(d.live.GetLabels(), origin),
			At:        time.Now(),
		})
	}
	if a.look == lookAll {
		w.owner.FullPassDone()
	}
}

// ownsText tells whether a Secret was applied by its stringData, as upstream does: its entry owns nothing that is there.
func ownsText(live *unstructured.Unstructured) bool {
	for _, e := range live.GetManagedFields() {
		if e.Manager == kube.FieldManager && e.FieldsV1 != nil && strings.Contains(e.FieldsV1.GetRawString(), `"f:stringData"`) {
			return kube.IsSecret(live)
		}
	}
	return false
}

// forgetDrift stops following the objects of a release.
func (c *controller) forgetDrift(req *request) {
	if c.tracker != nil {
		c.tracker.Release(tracker.Key{Namespace: req.Object.Namespace, Name: req.Object.Name})
	}
}
