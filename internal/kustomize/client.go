package kustomize

import (
	"context"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/clusters"
)

// clientFor returns the client as which a Kustomization applies, prunes and checks: on its cluster, as its
// ServiceAccount.
func (c *controller) clientFor(ctx context.Context, k *kustomizev1.Kustomization) (*apply.Client, error) {
	config, identity, err := c.finder().Config(ctx, placeOf(k))
	if err != nil {
		return nil, err
	}
	return c.Clients.Get(config, identity)
}

func (c *controller) finder() *clusters.Finder {
	return &clusters.Finder{Manager: c.m, Clouds: c.Clouds, Policy: c.KubeConfig, Account: c.KubeConfigAccount}
}

// placeOf says where a Kustomization works, and as whom.
func placeOf(k *kustomizev1.Kustomization) clusters.Place {
	return clusters.Place{Namespace: k.Namespace, KubeConfig: k.Spec.KubeConfig, ServiceAccount: k.Spec.ServiceAccountName}
}
