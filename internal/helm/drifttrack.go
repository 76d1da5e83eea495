package helm

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/apply/tracker"
	"github.com/gitops-toolkit/flux/internal/helm/kube"
	"github.com/gitops-toolkit/flux/internal/helm/postrender"
)

// groupKind is that of HelmReleases.
var groupKind = helmv2.GroupVersion.WithKind(helmv2.HelmReleaseKind).GroupKind()

// watching follows the objects of one release by the watches of the tracker. A nil watching looks at everything.
type watching struct{ owner *tracker.Owner }

// startTracker starts the tracker when a release first asks for it.
func (c *controller) startTracker() *tracker.Tracker {
	c.trackerOnce.Do(func() {
		cluster, err := c.Clusters.Get(c.m.RESTConfig(), "")
		if err != nil {
			return // every release will tell the same cause
		}
		c.tracker = tracker.New(c.ctx, tracker.Options{
			Client: cluster.Apply(), FieldManager: kube.FieldManager, OverrideManagers: c.OverrideManagers, OwnerGroup: groupKind.Group, Updates: true,
			Notify: c.notifyDrift, Log: func(message string, kv ...any) { c.m.Log().Info(message, kv...) },
		})
	})
	return c.tracker
}

// notices are the releases whose objects the tracker has seen to drift.
type notices struct {
	mu    sync.Mutex
	names map[types.NamespacedName]bool
}

func (n *notices) put(name types.NamespacedName) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.names == nil {
		n.names = map[types.NamespacedName]bool{}
	}
	n.names[name] = true
}

func (n *notices) take(name types.NamespacedName) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	told := n.names[name]
	delete(n.names, name)
	return told
}

func (c *controller) notifyDrift(key tracker.Key) {
	name := types.NamespacedName{Namespace: key.Namespace, Name: key.Name}
	c.notices.put(name)
	c.m.Wake(groupKind, name)
}

// watchFor follows the objects of a release that asks for it, in the controller's own cluster.
func (c *controller) watchFor(t *target, mem *memory) {
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
	if mem.watch != nil {
		mem.watch.owner.Configure(t.object.GetInterval(), true)
		mem.drift = c.notices.take(t.name()) || mem.drift
	}
}

// inStep tells whether the watches show that nothing drifted.
func (w *watching) inStep() bool {
	return w != nil && !w.owner.FullPassDue() && len(w.owner.Drifts()) == 0
}

func (w *watching) begin() (end func()) {
	if w == nil {
		return func() {}
	}
	return w.owner.Begin()
}

// settle takes in how the objects are, now that they are as they should be.
func (w *watching) settle(a *attempt, all []*compared) {
	if w == nil {
		return
	}
	origin := postrender.Origin(a.hr.Namespace, a.hr.Name)
	var inv apply.Inventory
	view := w.owner.AtInterval()
	for _, d := range all {
		if d.excluded || d.live == nil {
			continue
		}
		inv = append(inv, apply.Entry{ID: d.ref.ID(), Version: d.ref.Version})
	}
	w.owner.Follow(inv)
	for _, d := range all {
		if d.excluded || d.live == nil {
			continue
		}
		d.live.SetManagedFields(apply.UpdatesAsApplies(d.live.GetManagedFields(), kube.FieldManager))
		entry := apply.EntryHash(d.live, kube.FieldManager)
		view.Note(d.ref.ID(), apply.Record{
			UID: d.live.GetUID(), ResourceVersion: d.live.GetResourceVersion(), Generation: d.live.GetGeneration(),
			Entry: entry, Meta: apply.MetaHash(d.live, kube.FieldManager),
			Watchable: !entry.IsZero() && !d.ignored && contains(d.live.GetLabels(), origin), At: time.Now(),
		})
	}
	w.owner.FullPassDone()
}

// forgetDrift stops following the objects of a release.
func (c *controller) forgetDrift(req *request) {
	if c.tracker != nil {
		c.tracker.Release(tracker.Key{Namespace: req.Object.Namespace, Name: req.Object.Name})
	}
}
