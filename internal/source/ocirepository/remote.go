package ocirepository

import (
	"context"
	"errors"
	"fmt"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// wayTo is what the spec says of the repository.
func wayTo(obj *sourcev1.OCIRepository) access.Repository {
	return access.Repository{
		Namespace: obj.Namespace, State: fmt.Sprint(obj.Generation), URL: obj.Spec.URL, Insecure: obj.Spec.Insecure,
		Cloud: cloudProvider(obj), ServiceAccount: obj.Spec.ServiceAccountName,
		Pull: obj.Spec.SecretRef, Certs: obj.Spec.CertSecretRef, Proxy: obj.Spec.ProxySecretRef, Timeout: obj.GetTimeout(),
	}
}

// known is what is kept of an object.
type known struct {
	opened access.Opened
	// accepted is the last question about a signature that was answered well (verify.go).
	accepted string
}

// remembered is what is known of the object, nothing at first.
func remembered(req *request) known {
	if k, ok := req.Memory().(*known); ok {
		return *k
	}
	return known{}
}

// forget drops the repository, so that nothing that the registry said before is believed the next time.
func forget(req *request) { req.Remember(&known{accepted: remembered(req).accepted}) }

// repository opens the repository, or takes the one of the last time if nothing that it is built from has changed.
func (c *controller) repository(ctx context.Context, req *request) (*registry.Repository, *attempt.Failure) {
	k, way := remembered(req), wayTo(req.Object)
	way.Log = req.Log
	opened, err := c.registries.Open(ctx, way, k.opened)
	var login *access.LoginError
	switch {
	case errors.As(err, &login) && way.Cloud != "":
		err = fmt.Errorf("failed to get credential from %s: %w", way.Cloud, err)
	case errors.As(err, &login):
		err = fmt.Errorf("failed to get credential: %w", err)
	}
	if err != nil {
		return nil, attempt.Fetch(sourcev1.AuthenticationFailedReason, err)
	}
	k.opened = opened
	req.Remember(&k)
	return opened.Repo, nil
}
