package tree

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	extensionsv1 "github.com/gitops-toolkit/flux/api/extensions/v1beta1"
	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
)

// groupSuffix marks the groups of this toolkit.
const groupSuffix = ".toolkit.fluxcd.io"

type builder struct {
	client   *cluster.Client
	compact  bool
	expanded map[Identity]bool // a Kustomization may apply itself, or its owner
	kinds    *cluster.Discovery
}

func identify(k *kinds.Kind, namespace, name string) Identity {
	return Identity{Namespace: namespace, Name: name, GroupKind: k.GVK().GroupKind()}
}

func (b *builder) kustomization(ctx context.Context, namespace, name string) (*Node, error) {
	var obj kustomizev1.Kustomization
	if err := b.client.Get(ctx, kinds.Kustomization.Resource, namespace, name, &obj); err != nil {
		return nil, err
	}
	root := &Node{Resource: identify(kinds.Kustomization, namespace, name)}
	b.expanded[root.Resource] = true
	if obj.Status.Inventory == nil {
		return root, nil
	}
	for _, entry := range obj.Status.Inventory.Entries {
		id, err := parseID(entry.ID)
		if err != nil {
			return nil, fmt.Errorf("inventory of Kustomization %s/%s: %w", namespace, name, err)
		}
		if err := b.child(ctx, root, id, obj.Spec.KubeConfig != nil); err != nil {
			return nil, err
		}
	}
	return root, nil
}

// child adds an object and what it has made. What lies in another cluster is only named.
func (b *builder) child(ctx context.Context, parent *Node, id Identity, remote bool) error {
	if b.compact && !strings.HasSuffix(id.GroupKind.Group, groupSuffix) {
		return nil
	}
	if remote || b.expanded[id] {
		parent.add(id)
		return nil
	}
	switch id.GroupKind {
	case kinds.Kustomization.GVK().GroupKind():
		node, err := b.kustomization(ctx, id.Namespace, id.Name)
		if apierrors.IsNotFound(err) {
			parent.add(id) // applied once, and deleted by somebody
			return nil
		}
		if err != nil {
			return err
		}
		parent.Resources = append(parent.Resources, node)
	case kinds.HelmRelease.GVK().GroupKind():
		return b.release(ctx, parent.add(id))
	default:
		parent.add(id)
	}
	return nil
}

func (b *builder) release(ctx context.Context, node *Node) error {
	b.expanded[node.Resource] = true
	if b.compact {
		return nil
	}
	var obj helmv2.HelmRelease
	err := b.client.Get(ctx, kinds.HelmRelease.Resource, node.Resource.Namespace, node.Resource.Name, &obj)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	remote := obj.Spec.KubeConfig != nil
	ids, err := b.released(ctx, &obj, remote)
	if err != nil {
		return fmt.Errorf("HelmRelease %s/%s: %w", obj.Namespace, obj.Name, err)
	}
	for _, id := range ids {
		if err := b.child(ctx, node, id, remote); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) generator(ctx context.Context, namespace, name string) (*Node, error) {
	var obj extensionsv1.ArtifactGenerator
	if err := b.client.Get(ctx, kinds.ArtifactGenerator.Resource, namespace, name, &obj); err != nil {
		return nil, err
	}
	root := &Node{Resource: identify(kinds.ArtifactGenerator, namespace, name)}
	for _, made := range obj.Status.Inventory {
		root.add(identify(kinds.ExternalArtifact, made.Namespace, made.Name))
	}
	return root, nil
}

// parseID reads <namespace>_<name>_<group>_<kind>; the name may hold colons, written as "__".
func parseID(text string) (Identity, error) {
	namespace, rest, ok := strings.Cut(text, "_")
	if !ok {
		return Identity{}, fmt.Errorf("cannot read id %q", text)
	}
	end := strings.LastIndex(rest, "_")
	if end < 0 {
		return Identity{}, fmt.Errorf("cannot read id %q", text)
	}
	rest, kind := rest[:end], rest[end+1:]
	end = strings.LastIndex(rest, "_")
	if end < 0 {
		return Identity{}, fmt.Errorf("cannot read id %q", text)
	}
	name, group := rest[:end], rest[end+1:]
	return Identity{
		Namespace: namespace,
		Name:      strings.ReplaceAll(name, "__", ":"),
		GroupKind: schema.GroupKind{Group: group, Kind: kind},
	}, nil
}
