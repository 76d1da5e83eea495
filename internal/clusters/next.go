package clusters

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/internal/netcause"
)

// Next is what to do where the cluster of a place cannot be reached or does not answer as it should, "" for other errors.
func (p Place) Next(err error) string {
	if strings.Contains(err.Error(), "stale GroupVersion discovery") {
		return "the APIService of that group is not available: mend what serves it, or delete it (kubectl get apiservices)"
	}
	source := p.source()
	if source == "" {
		return ""
	}
	switch cause := netcause.Of(err); {
	case apierrors.IsUnauthorized(err):
		return "the cluster of spec.kubeConfig does not accept the credential: renew it in " + source
	case cause == netcause.Refused:
		return "the cluster of spec.kubeConfig does not accept the client's certificate: renew it in " + source
	case cause.Untrusted():
		return "the certificate of the cluster of spec.kubeConfig is not trusted: correct the address or the CA certificate in " + source
	case cause != netcause.Unknown:
		return "the cluster of spec.kubeConfig does not answer: is it up, and is the address right in " + source + "?"
	}
	return ""
}

// source names what says where another cluster is.
func (p Place) source() string {
	switch kc := p.KubeConfig; {
	case kc == nil:
		return ""
	case kc.SecretRef != nil:
		return fmt.Sprintf("Secret '%s/%s'", p.Namespace, kc.SecretRef.Name)
	case kc.ConfigMapRef != nil:
		return fmt.Sprintf("ConfigMap '%s/%s'", p.Namespace, kc.ConfigMapRef.Name)
	}
	return ""
}

// WantsRights tells whether a refusal is for want of rights, and not by quota, policy or admission.
func WantsRights(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), `User "`) && strings.Contains(err.Error(), `" cannot `)
}

// NextOfRights says who needs the rights that are missing in a place.
func (f *Finder) NextOfRights(ctx context.Context, p Place) string {
	account := f.Manager.ServiceAccount(p.ServiceAccount)
	field := "spec.serviceAccountName"
	if p.ServiceAccount == "" {
		field = "--default-service-account"
	}
	switch {
	case account == "":
		return "grant the right to whom the message names, or set spec.serviceAccountName to a ServiceAccount that has it"
	case p.KubeConfig != nil:
		return fmt.Sprintf("in the cluster of spec.kubeConfig, grant the right to the ServiceAccount '%s/%s' of %s", p.Namespace, account, field)
	}
	if gone, err := f.AccountGone(ctx, p); err == nil && gone {
		return fmt.Sprintf("the ServiceAccount '%s/%s' of %s does not exist: create it, or correct the name", p.Namespace, account, field)
	}
	return fmt.Sprintf("grant the right to the ServiceAccount '%s/%s' of %s with a RoleBinding or ClusterRoleBinding", p.Namespace, account, field)
}

// AccountGone looks in the controller's own cluster whether the account to impersonate is still there.
func (f *Finder) AccountGone(ctx context.Context, p Place) (bool, error) {
	account := f.Manager.ServiceAccount(p.ServiceAccount)
	if account == "" || p.KubeConfig != nil {
		return false, nil
	}
	err := f.Manager.Live().Get(ctx, types.NamespacedName{Namespace: p.Namespace, Name: account}, &corev1.ServiceAccount{})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	return false, err
}
