package policy

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/internal/image/access"
	"github.com/gitops-toolkit/flux/internal/kernel"

	"k8s.io/apimachinery/pkg/types"
)

// settle finds out whether the digest is wanted and known, and lets a job look it up if it is not.
func (c *controller) settle(req *request, repo *imagev1.ImageRepository, want imagev1.ImageRef) kernel.Outcome {
	now := req.Object.Status.LatestRef
	switch cmp.Or(req.Object.Spec.DigestReflectionPolicy, imagev1.ReflectNever) {
	case imagev1.ReflectNever:
		return finish(req, want)
	case imagev1.ReflectIfNotPresent:
		if now != nil && now.Name == want.Name && now.Tag == want.Tag && now.Digest != "" {
			return finish(req, *now)
		}
	}
	key := "digest/" + want.String()
	if req.Job == nil || req.Job.Superseded || req.Job.Key != key {
		return kernel.Working(kernel.Job{Key: key, Lane: access.Host(repo.Spec.Image), Run: func(ctx context.Context) (any, error) {
			return c.digest(ctx, repo, want)
		}})
	}
	if err := req.Job.Err; err != nil {
		return digestFailed(repo, want, err)
	}
	want.Digest = req.Job.Value.(string)
	return finish(req, want)
}

// digest asks the registry, with the repository's login and timeout.
func (c *controller) digest(ctx context.Context, repo *imagev1.ImageRepository, want imagev1.ImageRef) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, repo.GetTimeout())
	defer cancel()
	remote, err := c.Registries.Open(ctx, repo)
	if err != nil {
		return "", err
	}
	digest, err := remote.Digest(ctx, want.Tag)
	if err != nil {
		c.Registries.Forget(types.NamespacedName{Namespace: repo.Namespace, Name: repo.Name})
		return "", access.Explain(repo, err)
	}
	return digest, nil
}

func digestFailed(repo *imagev1.ImageRepository, want imagev1.ImageRef, err error) kernel.Outcome {
	if gate := (*kernel.GateDisabledError)(nil); errors.As(err, &gate) {
		return kernel.Stalled(kernel.FeatureGateDisabledReason, fmt.Errorf("ImageRepository/%s/%s: %w", repo.Namespace, repo.Name, err))
	}
	return kernel.Failed(imagev1.FailureReason, fmt.Errorf("failed fetching digest of %s: %w", want.String(), err)).
		RetryAfter(access.Throttled(err)).Backoff()
}
