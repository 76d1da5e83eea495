package access

import (
	"errors"
	"fmt"
	"time"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/netcause"
	"github.com/gitops-toolkit/flux/internal/registry"
)

// maxThrottle is the longest pause that a registry is granted.
const maxThrottle = time.Hour

// Throttled tells for how long the registry wants to be left alone, zero if it does not.
func Throttled(err error) time.Duration {
	var throttle *registry.ThrottledError
	if errors.As(err, &throttle) {
		return min(throttle.After, maxThrottle)
	}
	return 0
}

// Explain adds to an error of the registry the cause, where the text does not tell it, and what to do next. The texts
// that people and their alerts know stay at the beginning.
func Explain(obj *imagev1.ImageRepository, err error) error {
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
func next(obj *imagev1.ImageRepository, err error) string {
	switch cause := netcause.Of(err); {
	case cause == netcause.Proxy:
		return "check spec.image, and " + access.ProxyName(obj.Namespace, obj.Spec.ProxySecretRef)
	case errors.Is(err, registry.ErrAuthentication):
		if ref := obj.Spec.SecretRef; ref != nil {
			return fmt.Sprintf("check the login in the Secret '%s', and what it is allowed", obj.Namespace+"/"+ref.Name)
		}
		return "set spec.secretRef to a pull secret for this registry; many registries also answer so when the repository does not exist"
	case cause == netcause.Authority:
		return "put it into a Secret, and name that in spec.certSecretRef"
	case cause == netcause.OtherHost, cause == netcause.NoSuchHost:
		return "check spec.image"
	case cause == netcause.Timeout:
		return fmt.Sprintf("check that the registry can be reached from the cluster, or raise spec.timeout (%s)", obj.GetTimeout())
	case cause == netcause.Expired, cause == netcause.Invalid:
		return "give the registry a certificate that is valid"
	case cause == netcause.Refused:
		return "the registry wants another client certificate: see spec.certSecretRef"
	case cause == netcause.Unreachable:
		return "check spec.image, and that the host can be reached from the cluster"
	}
	return ""
}
