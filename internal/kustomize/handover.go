package kustomize

import (
	"context"
	"fmt"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	api "github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// handOverPatience is how long a prune waits for other Kustomizations to find out what they want.
const handOverPatience = 30 * time.Second

func (t *target) name() types.NamespacedName {
	return types.NamespacedName{Namespace: t.object.Namespace, Name: t.object.Name}
}

// cluster tells clusters apart as far as the specs do. Where two kubeconfigs lead to the same cluster, the owner
// labels of the live objects decide.
func (t *target) cluster() string { return clusterKey(t.object) }

func clusterKey(k *kustomizev1.Kustomization) string {
	ref := k.Spec.KubeConfig
	switch {
	case ref == nil:
		return ""
	case ref.SecretRef != nil:
		return "secret/" + k.Namespace + "/" + ref.SecretRef.Name + "/" + ref.SecretRef.Key
	case ref.ConfigMapRef != nil:
		return "configmap/" + k.Namespace + "/" + ref.ConfigMapRef.Name
	}
	return "unknown"
}

// behind lists the Kustomizations of this process and cluster whose source or spec is newer than what is known of
// what they want. A Kustomization that is new counts too.
func (c *controller) behind(ctx context.Context, self types.NamespacedName, cluster string) []types.NamespacedName {
	list := &kustomizev1.KustomizationList{}
	if err := c.m.Client().List(ctx, list); err != nil {
		return nil // the cache is not there; the live owner labels decide
	}
	var out []types.NamespacedName
	for i := range list.Items {
		k := &list.Items[i]
		name := types.NamespacedName{Namespace: k.Namespace, Name: k.Name}
		switch {
		case name == self, k.Spec.Suspend, !k.DeletionTimestamp.IsZero(), clusterKey(k) != cluster, !c.shard.Matches(labels.Set(k.Labels)):
			continue
		}
		if !c.desires.settled(name, c.expected(ctx, k)) {
			out = append(out, name)
		}
	}
	return out
}

// expected names the target that a Kustomization should have by the caches (see target.full).
func (c *controller) expected(ctx context.Context, k *kustomizev1.Kustomization) string {
	t := &target{object: k.DeepCopy()}
	t.object.Normalize()
	ref := sourceReference(t.object)
	source, stopped := c.sourceObject(t, ref)
	if stopped != nil {
		return t.full()
	}
	if err := c.m.Client().Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, source); err == nil {
		if a := source.GetArtifact(); a != nil {
			t.ref = artifact.RefOf(a)
		}
	}
	t.configs, t.known = c.m.Versions(t.object.Namespace, configReferences(t.object)) // costs no request
	return t.full()
}

// awaitOthers waits until nobody is behind, at most handOverPatience. A Kustomization that cannot go on because of its
// dependencies, maybe the very one that waits here, is built in its stead.
func (c *controller) awaitOthers(ctx context.Context, self types.NamespacedName, cluster string) error {
	timeout := time.NewTimer(handOverPatience)
	defer timeout.Stop()
	tick := time.NewTicker(500 * time.Millisecond) // the caches change without a signal
	defer tick.Stop()
	for {
		changed := c.desires.signal()
		left := c.behind(ctx, self, cluster)
		for _, name := range left {
			if blocked := c.desires.blockedTarget(name); blocked != nil {
				c.foresee(ctx, blocked)
			}
		}
		if len(c.behind(ctx, self, cluster)) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timeout.C:
			c.excuse(ctx, left)
			return nil
		case <-changed:
		case <-tick.C:
		}
	}
}

// excuse keeps later prunes from waiting again for Kustomizations that cannot tell what they want.
func (c *controller) excuse(ctx context.Context, names []types.NamespacedName) {
	for _, name := range names {
		k := &kustomizev1.Kustomization{}
		if c.m.Client().Get(ctx, name, k) == nil {
			c.desires.excuse(name, c.expected(ctx, k))
		}
	}
}

// foresee finds out what a Kustomization wants that waits for its dependencies.
func (c *controller) foresee(ctx context.Context, t *target) {
	j := &job{c: c, req: silent(t), t: t, result: &applied{target: t}}
	defer j.release()
	err := func() error {
		built, err := j.build(ctx)
		if err != nil {
			return err
		}
		j.result.built = built
		objects, err := j.objects(ctx, built)
		if err != nil {
			return err
		}
		client, err := c.clientFor(ctx, t.object)
		if err != nil {
			return err
		}
		set, err := apply.Prepare(ctx, client, objects, j.preparation())
		if err != nil {
			return err
		}
		c.desires.note(t, client, set.Inventory())
		return nil
	}()
	if err != nil {
		c.desires.tried(t) // its own attempt will tell the cause
	}
}

// silent is a request whose progress nobody sees.
func silent(t *target) *request { return kernel.NewRequest(t.object, nobody{}) }

// nobody is a kernel.Host that listens to nothing.
type nobody struct{}

func (nobody) Progress(kernel.Progress)                           {}
func (nobody) Checkpoint(context.Context, func(api.Object)) error { return nil }
func (nobody) Event(kernel.Event)                                 {}
func (nobody) Memory() any                                        { return nil }
func (nobody) Remember(any)                                       {}

// keeper tells which stale objects another Kustomization wants and may apply.
type keeper struct {
	c       *controller
	ctx     context.Context
	self    types.NamespacedName
	cluster string
	stale   map[apply.ID]apply.Ref
	asked   map[apply.ID]types.NamespacedName // the zero name: nobody
}

func (c *controller) keeper(ctx context.Context, self types.NamespacedName, cluster string, stale apply.Inventory) *keeper {
	k := &keeper{
		c: c, ctx: ctx, self: self, cluster: cluster, stale: map[apply.ID]apply.Ref{}, asked: map[apply.ID]types.NamespacedName{},
	}
	for _, e := range stale {
		if ref, ok := e.Ref(); ok {
			k.stale[e.ID] = ref
		}
	}
	return k
}

// keep implements apply.PruneOptions.Keep.
func (k *keeper) keep(id apply.ID) bool {
	by, known := k.asked[id]
	if !known {
		by = k.ask(id)
		k.asked[id] = by
	}
	return by != types.NamespacedName{}
}

func (k *keeper) ask(id apply.ID) types.NamespacedName {
	for _, claim := range k.c.desires.claims(id, k.cluster, k.self) {
		if !k.c.lives(k.ctx, claim.by) {
			continue
		}
		// Who cannot apply it cannot keep others from deleting it. An unanswered question keeps it for now.
		may, err := claim.client.MayApply(k.ctx, k.stale[id])
		if err != nil && !apimeta.IsNoMatchError(err) || may {
			return claim.by
		}
	}
	return types.NamespacedName{}
}

// lives tells whether a Kustomization is there and is to stay.
func (c *controller) lives(ctx context.Context, name types.NamespacedName) bool {
	k := &kustomizev1.Kustomization{}
	return c.m.Client().Get(ctx, name, k) == nil && k.DeletionTimestamp.IsZero()
}

// kept returns the entries that were kept, and a line for each that says for whom.
func (k *keeper) kept(stale apply.Inventory) (inv apply.Inventory, lines []string) {
	for _, e := range stale {
		by := k.asked[e.ID]
		if by == (types.NamespacedName{}) {
			continue
		}
		inv = append(inv, e)
		if ref, ok := e.Ref(); ok {
			lines = append(lines, fmt.Sprintf("%s handed over to Kustomization/%s", ref.Subject(), by))
		}
	}
	return inv, lines
}

// pruneText is the event of a prune: what was deleted, what went with it, and what was handed over.
func pruneText(changes apply.ChangeLog, with map[apply.ID]string, handed []string, kept apply.Inventory) string {
	held := map[apply.ID]bool{}
	for _, e := range kept {
		held[e.ID] = true
	}
	var lines []string
	for _, change := range changes {
		if held[change.ID()] {
			continue
		}
		lines = append(lines, change.String())
		if text := with[change.ID()]; text != "" && change.Action == apply.Deleted {
			lines = append(lines, "  and with it "+text)
		}
	}
	return strings.Join(append(lines, handed...), "\n")
}
