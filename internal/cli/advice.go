package cli

import (
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// advice is the next step after a failure on the way to the cluster, which every command may meet. What
// is about one command says its own next step.
func advice(err error) string {
	switch {
	case apierrors.IsUnauthorized(err):
		return ": the API server does not take the credential of the kubeconfig, which is wrong or has expired: log in to the cluster again, or choose another with --kubeconfig or --context"
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), " cannot "):
		return ": ask for that right, or choose a user who has it with --context"
	}
	return ""
}
