package apply

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// bystanders live in namespaces without anybody having put them there.
var bystanders = map[schema.GroupKind]bool{
	{Kind: "Event"}: true, {Group: "events.k8s.io", Kind: "Event"}: true, {Kind: "Endpoints"}: true,
	{Group: "discovery.k8s.io", Kind: "EndpointSlice"}: true, {Group: "coordination.k8s.io", Kind: "Lease"}: true,
	{Group: "apps", Kind: "ControllerRevision"}: true, {Group: "apps", Kind: "ReplicaSet"}: true,
	{Group: "metrics.k8s.io", Kind: "PodMetrics"}: true,
}

// Consequences says what else is lost when objects are deleted: the content of a Namespace, the
// resources of a CustomResourceDefinition, the data of a volume. Objects that take nothing along
// have no entry. What the client may not read is named as not known.
func (c *Client) Consequences(ctx context.Context, refs []Ref) map[ID]string {
	out := map[ID]string{}
	for _, ref := range refs {
		var text string
		switch (schema.GroupKind{Group: ref.Group, Kind: ref.Kind}) {
		case schema.GroupKind{Kind: "Namespace"}:
			text = c.insideOf(ctx, ref.Name)
		case schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}:
			text = c.definedBy(ctx, ref)
		case schema.GroupKind{Kind: "PersistentVolumeClaim"}:
			text = c.claimed(ctx, ref)
		case schema.GroupKind{Kind: "PersistentVolume"}:
			text = c.volume(ctx, ref.Name)
		}
		if text != "" {
			out[ref.ID()] = text
		}
	}
	return out
}

// insideOf counts the objects of a namespace, one request for each kind.
func (c *Client) insideOf(ctx context.Context, namespace string) string {
	type counted struct {
		kind string
		n    int64
	}
	var mu sync.Mutex
	var found []counted
	unknown := 0
	var g errgroup.Group
	g.SetLimit(8)
	for gk, m := range c.mapper.namespaced() {
		g.Go(func() error {
			n, err := c.count(ctx, m, namespace)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err):
			case err != nil:
				unknown++
			case n > 0:
				found = append(found, counted{gk.Kind, n})
			}
			return nil
		})
	}
	_ = g.Wait()
	slices.SortFunc(found, func(a, b counted) int { return cmp.Or(strings.Compare(a.kind, b.kind), cmp.Compare(a.n, b.n)) })
	var parts []string
	for _, f := range found {
		parts = append(parts, fmt.Sprintf("%d %s", f.n, f.kind))
	}
	if unknown > 0 {
		parts = append(parts, fmt.Sprintf("objects of %d kinds that could not be listed", unknown))
	}
	return strings.Join(parts, ", ")
}

// count tells how many objects there are, in a namespace or in the cluster.
func (c *Client) count(ctx context.Context, m Mapping, namespace string) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := c.metadata.Resource(m.Resource).Namespace(namespace).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return 0, err
	}
	n := int64(len(list.Items))
	if list.RemainingItemCount != nil {
		n += *list.RemainingItemCount
	}
	return n, nil
}

// definedBy counts the resources of a CustomResourceDefinition.
func (c *Client) definedBy(ctx context.Context, ref Ref) string {
	crd, err := c.Get(ctx, ref)
	if err != nil {
		return notKnown("its resources", err)
	}
	kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	m, err := c.mapper.ForKind(ctx, schema.GroupVersionKind{Group: group, Kind: kind, Version: "v1"})
	if err != nil {
		return notKnown("its resources", err)
	}
	n, err := c.count(ctx, m, "")
	if err != nil {
		return notKnown("its resources", err)
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d %s", n, kind)
}

// claimed says what becomes of the volume of a claim.
func (c *Client) claimed(ctx context.Context, ref Ref) string {
	claim, err := c.Get(ctx, ref)
	if err != nil {
		return notKnown("its volume", err)
	}
	name, _, _ := unstructured.NestedString(claim.Object, "spec", "volumeName")
	if name == "" {
		return "" // never bound
	}
	return c.volume(ctx, name)
}

func (c *Client) volume(ctx context.Context, name string) string {
	pv, err := c.Get(ctx, Ref{GroupVersionKind: schema.GroupVersionKind{Version: "v1", Kind: "PersistentVolume"}, Name: name})
	if err != nil {
		return notKnown("the data of PersistentVolume/"+name, err)
	}
	policy, _, _ := unstructured.NestedString(pv.Object, "spec", "persistentVolumeReclaimPolicy")
	if policy == "Delete" {
		return "the data of PersistentVolume/" + name + " (reclaim policy Delete)"
	}
	return "the binding of PersistentVolume/" + name + ", whose data stays (reclaim policy " + policy + ")"
}

func notKnown(what string, err error) string {
	if apierrors.IsNotFound(err) {
		return ""
	}
	return what + " (what that is could not be read)"
}

// namespaced returns the kinds that live in namespaces and that people or programs put there.
func (m *Mapper) namespaced() map[schema.GroupKind]Mapping {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := map[schema.GroupKind]Mapping{}
	for gk, version := range m.preferred {
		if got := m.kinds[gk.WithVersion(version)]; got.Namespaced && !bystanders[gk] {
			out[gk] = got
		}
	}
	return out
}
