package ocirepository

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/registry"
)

// cloudLogin logs in at the registry of a cloud, as the ServiceAccount or as the controller itself. until is when to
// log in again.
func (c *controller) cloudLogin(ctx context.Context, obj *sourcev1.OCIRepository, sa *corev1.ServiceAccount, remote *registry.Remote) (until time.Time, f *failure) {
	provider := cloudProvider(obj)
	host, _, err := registry.HostAndName(obj.Spec.URL)
	if err != nil {
		return until, stalled(sourcev1.URLInvalidReason, err)
	}
	ctx, cancel := context.WithTimeout(ctx, obj.GetTimeout())
	defer cancel()
	remote.Login, until, err = c.Clouds.Registry(ctx, provider, cloud.Identity{Account: cloud.AccountOf(sa), Proxy: remote.Proxy}, host)
	if err != nil {
		return until, fetchFailed(sourcev1.AuthenticationFailedReason, fmt.Errorf("failed to get credential from %s: %w", provider, err))
	}
	return until, nil
}

// cloudAccount is the ServiceAccount whose identity is used, nil for the controller's own.
func (c *controller) cloudAccount(ctx context.Context, obj *sourcev1.OCIRepository) (*corev1.ServiceAccount, *failure) {
	sa, err := c.cluster.CloudAccount(ctx, obj.Namespace, obj.Spec.ServiceAccountName, c.fallback)
	if err != nil {
		return nil, fetchFailed(sourcev1.AuthenticationFailedReason, fmt.Errorf("failed to get credential from %s: %w", cloudProvider(obj), err))
	}
	return sa, nil
}
