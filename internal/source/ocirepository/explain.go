package ocirepository

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/netcause"
	"github.com/gitops-toolkit/flux/internal/registry"
)

// explain adds to an error of the library the cause, where the text does not tell it, and what to do next. The texts that
// people and their alerts know stay at the beginning.
func explain(obj *sourcev1.OCIRepository, err error) error {
	if cause := netcause.Of(err).Explain("registry"); cause != "" {
		err = fmt.Errorf("%w; %s", err, cause)
	}
	if next := next(obj, err); next != "" {
		err = fmt.Errorf("%w; %s", err, next)
	}
	return err
}

// next is what to do about an error. It is silent about a repository that the registry does not know: that message is
// upstream's as a whole, and it names the repository.
func next(obj *sourcev1.OCIRepository, err error) string {
	switch cause := netcause.Of(err); {
	case cause == netcause.Proxy:
		return "check spec.url, and " + access.ProxyName(obj.Namespace, obj.Spec.ProxySecretRef)
	case errors.Is(err, registry.ErrAuthentication):
		if ref := obj.Spec.SecretRef; ref != nil {
			return fmt.Sprintf("check the login in the Secret '%s', and what it is allowed", obj.Namespace+"/"+ref.Name)
		}
		return "set spec.secretRef to a pull secret for this registry; many registries also answer so when the repository does not exist"
	case errors.Is(err, registry.ErrNoMatch):
		if obj.Spec.Reference.SemverFilter != "" {
			return fmt.Sprintf("no tag of '%s' matches both spec.ref.semver and spec.ref.semverFilter", obj.Spec.URL)
		}
		return fmt.Sprintf("no tag of '%s' matches spec.ref.semver", obj.Spec.URL)
	case unknownManifest(err):
		return fmt.Sprintf("check spec.ref: '%s' has no such tag or digest", obj.Spec.URL)
	case errors.Is(err, registry.ErrNoLayer):
		return fmt.Sprintf("correct spec.layerSelector.mediaType, or what was pushed to '%s'", obj.Spec.URL)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "enlarge the volume of the controller's temporary files"
	case cause == netcause.Authority:
		return "put it into a Secret, and name that in spec.certSecretRef"
	case cause == netcause.OtherHost:
		return "check spec.url, or give the registry a certificate for it"
	case cause == netcause.Expired, cause == netcause.Invalid:
		return "give the registry a certificate that is valid"
	case cause == netcause.NoSuchHost:
		return "check spec.url"
	case cause == netcause.Timeout:
		return fmt.Sprintf("check that the registry can be reached from the cluster, or raise spec.timeout (%s)", obj.GetTimeout())
	case cause == netcause.Refused:
		return "the registry wants another client certificate: see spec.certSecretRef"
	case cause == netcause.Unreachable:
		return "check spec.url, and that the host can be reached from the cluster"
	}
	return ""
}

// unknownManifest tells whether the registry knows the repository, but not what is wanted of it.
func unknownManifest(err error) bool {
	var answered *transport.Error
	return errors.As(err, &answered) && slices.ContainsFunc(answered.Errors, func(d transport.Diagnostic) bool {
		return d.Code == transport.ManifestUnknownErrorCode
	})
}
