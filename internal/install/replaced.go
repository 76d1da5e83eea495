package install

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// replaceable are the kinds of which an earlier installation with another topology or other
// rights may have left some: rights that are no longer meant, or a second set of controllers.
var replaceable = map[string]schema.GroupVersionResource{
	"Deployment":         deploymentResource,
	"ServiceAccount":     {Version: "v1", Resource: "serviceaccounts"},
	"ClusterRole":        {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"},
	"ClusterRoleBinding": {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"},
	"Role":               {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
	"RoleBinding":        {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
}

// Leftover is an object of an earlier installation that a new one replaces.
type Leftover struct {
	live     *unstructured.Unstructured
	resource dynamic.ResourceInterface
}

// String names the object as the lines of a change log do.
func (l Leftover) String() string { return subject(l.live) }

// Deployment tells whether it runs controllers.
func (l Leftover) Deployment() bool { return l.live.GetKind() == "Deployment" }

// Remove deletes the object; with wait it returns when its dependents, such as pods, are gone too.
func (l Leftover) Remove(ctx context.Context, wait bool) error {
	uid, propagation := l.live.GetUID(), metav1.DeletePropagationBackground
	if wait {
		propagation = metav1.DeletePropagationForeground
	}
	err := l.resource.Delete(ctx, l.live.GetName(), metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &propagation,
	})
	if wait && err == nil {
		err = l.await(ctx)
	}
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("delete %s, which an earlier installation left: %w", l, err)
}

func (l Leftover) await(ctx context.Context) error {
	for {
		_, err := l.resource.Get(ctx, l.live.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it has not ended: %w", ctx.Err())
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// Replaced finds what the same components have in the cluster under another topology, with other
// rights, or for other namespaces, and is not among the objects. Only what carries the labels of
// this installation is found; components that were dropped stay, as upstream has it.
func Replaced(ctx context.Context, client *apply.Client, bundle Bundle, o Options, objects []*unstructured.Unstructured) ([]Leftover, error) {
	seen := map[string]bool{}
	for _, obj := range objects {
		seen[subject(obj)] = true
	}
	var found []Leftover
	for _, other := range o.others() {
		variant, err := Build(bundle.Files, other)
		if err != nil {
			return nil, err
		}
		for _, obj := range variant {
			resource, ok := replaceable[obj.GetKind()]
			if !ok || seen[subject(obj)] {
				continue
			}
			seen[subject(obj)] = true
			l, err := leftover(ctx, client.Dynamic().Resource(resource), obj)
			if err != nil {
				return nil, fmt.Errorf("look for what an earlier installation left: %w", err)
			}
			if l != nil {
				found = append(found, *l)
			}
		}
	}
	return found, nil
}

func leftover(ctx context.Context, all dynamic.NamespaceableResourceInterface, obj *unstructured.Unstructured) (*Leftover, error) {
	resource := dynamic.ResourceInterface(all)
	if obj.GetNamespace() != "" {
		resource = all.Namespace(obj.GetNamespace())
	}
	live, err := resource.Get(ctx, obj.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	labels := live.GetLabels()
	if labels[PartOfLabel] != "flux" || labels[InstanceLabel] != obj.GetLabels()[InstanceLabel] {
		return nil, nil
	}
	return &Leftover{live: live, resource: resource}, nil
}

// others are the same options in all other topologies and rights.
func (o Options) others() []Options {
	var out []Options
	for _, topology := range []Topology{Multi, Single} {
		for _, rbac := range []RBAC{Full, Minimal} {
			for _, everywhere := range []bool{true, false} {
				other := o
				other.Topology, other.RBAC, other.WatchAllNamespaces = topology, rbac, everywhere
				out = append(out, other)
			}
		}
	}
	return out
}
