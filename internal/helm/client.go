package helm

import (
	"context"

	"k8s.io/apimachinery/pkg/types"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/internal/clusters"
	"github.com/gitops-toolkit/flux/internal/helm/kube"
	"github.com/gitops-toolkit/flux/internal/helm/values"
)

// clusterFor returns the cluster that a HelmRelease releases to, as whoever it releases.
func (c *controller) clusterFor(ctx context.Context, hr *helmv2.HelmRelease) (*kube.Cluster, error) {
	finder := clusters.Finder{Manager: c.m, Clouds: c.Clouds, Policy: c.KubeConfig, Account: c.KubeConfigAccount}
	place := clusters.Place{Namespace: hr.Namespace, KubeConfig: hr.Spec.KubeConfig, ServiceAccount: hr.Spec.ServiceAccountName}
	config, identity, err := finder.Config(ctx, place)
	if err != nil {
		return nil, err
	}
	return c.Clusters.Get(config, identity)
}

// valuesFor composes the values of a HelmRelease. They are always read from the controller's own cluster.
func (c *controller) valuesFor(ctx context.Context, hr *helmv2.HelmRelease, log func(values.Reference)) (map[string]any, error) {
	merged, skipped, err := values.Of(hr, func(kind, namespace, name string) (values.Object, error) {
		return c.readConfig(ctx, kind, types.NamespacedName{Namespace: namespace, Name: name})
	})
	for _, ref := range skipped {
		log(ref)
	}
	return merged, err
}

func (c *controller) readConfig(ctx context.Context, kind string, name types.NamespacedName) (values.Object, error) {
	if kind == "Secret" {
		return values.FromSecret(c.m.GetSecret(ctx, name))
	}
	return values.FromConfigMap(c.m.GetConfigMap(ctx, name))
}
