package helm

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/internal/clusters"
	"github.com/gitops-toolkit/flux/internal/helm/kube"
	"github.com/gitops-toolkit/flux/internal/helm/values"
	"github.com/gitops-toolkit/flux/internal/refusal"
)

// clusterFor returns the cluster that a HelmRelease releases to, as whoever it releases.
func (c *controller) clusterFor(ctx context.Context, hr *helmv2.HelmRelease) (*kube.Cluster, error) {
	config, identity, err := c.finder().Config(ctx, placeOf(hr))
	if err != nil {
		return nil, err
	}
	return c.Clusters.Get(config, identity)
}

func (c *controller) finder() *clusters.Finder {
	return &clusters.Finder{Manager: c.m, Clouds: c.Clouds, Policy: c.KubeConfig, Account: c.KubeConfigAccount}
}

// placeOf says where a HelmRelease releases to, and as whom.
func placeOf(hr *helmv2.HelmRelease) clusters.Place {
	return clusters.Place{Namespace: hr.Namespace, KubeConfig: hr.Spec.KubeConfig, ServiceAccount: hr.Spec.ServiceAccountName}
}

// advice is what to do about an error of the cluster that is released to: its words, and "" where they say it themselves.
func (a *attempt) advice(ctx context.Context, err error) string {
	advice := refusal.Advice(err.Error())
	switch _, granting := refusal.Granting(err.Error()); {
	case advice != "" || granting:
	case clusters.WantsRights(err):
		advice = a.c.finder().NextOfRights(ctx, placeOf(a.hr))
	default:
		advice = placeOf(a.hr).Next(err)
	}
	if advice == "" {
		return ""
	}
	return "; " + advice
}

// valuesFor composes the values of a HelmRelease. They are always read from the controller's own cluster.
func (c *controller) valuesFor(ctx context.Context, hr *helmv2.HelmRelease, log func(values.Reference)) (map[string]any, error) {
	merged, skipped, err := values.Of(hr, func(kind, namespace, name string) (values.Object, error) {
		return c.readConfig(ctx, kind, types.NamespacedName{Namespace: namespace, Name: name})
	})
	for _, ref := range skipped {
		log(ref)
	}
	return merged, resolved(err)
}

// resolved adds to the error of a reference to values that leads nowhere what to do about it.
func resolved(err error) error {
	var unresolved *values.Error
	switch {
	case !errors.As(err, &unresolved):
		return err
	case errors.Is(err, values.ErrNotFound):
		return fmt.Errorf("%w; create it, or set optional: true in spec.valuesFrom", err)
	case unresolved.Reason == values.KeyNotFound:
		return fmt.Errorf("%w; add the key, or correct valuesKey in spec.valuesFrom", err)
	}
	return err
}

func (c *controller) readConfig(ctx context.Context, kind string, name types.NamespacedName) (values.Object, error) {
	if kind == "Secret" {
		return values.FromSecret(c.m.GetSecret(ctx, name))
	}
	return values.FromConfigMap(c.m.GetConfigMap(ctx, name))
}
