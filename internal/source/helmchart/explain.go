package helmchart

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/charts/index"
	"github.com/gitops-toolkit/flux/internal/charts/repo"
	"github.com/gitops-toolkit/flux/internal/netcause"
	"github.com/gitops-toolkit/flux/internal/registry"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
	"github.com/gitops-toolkit/flux/internal/source/helmaccess"
)

// unpulled is the failure to get the chart from the source: who we are, or anything else.
func (p *poll) unpulled(err error) *attempt.Failure {
	p.forget()
	if cause := netcause.Of(err).Explain("registry"); cause != "" {
		err = fmt.Errorf("%w; %s", err, cause)
	}
	f := buildFailed(chartPull, err)
	if aboutIdentity(err) {
		f = attempt.Fetch(sourcev1.AuthenticationFailedReason, fmt.Errorf("failed to authenticate with the Helm repository: %w%s", err, p.nextForIdentity(err)))
	}
	return f
}

// aboutIdentity tells whether one side of the connection did not accept who the other is.
func aboutIdentity(err error) bool {
	var status *repo.StatusError
	if errors.As(err, &status) {
		return status.StatusCode == http.StatusUnauthorized || status.StatusCode == http.StatusForbidden
	}
	return errors.Is(err, registry.ErrAuthentication) || errors.Is(err, registry.ErrPlain) || errors.Is(err, helmaccess.ErrSettings) ||
		strings.Contains(err.Error(), "tls: ") // Upstream goes by the text too; alerts have no type of their own.
}

func (p *poll) nextForIdentity(err error) string {
	var status *repo.StatusError
	if !errors.As(err, &status) && !errors.Is(err, registry.ErrAuthentication) || p.src.repository == nil {
		return ""
	}
	if ref := p.src.repository.Spec.SecretRef; ref != nil {
		return fmt.Sprintf("; check the login in the Secret '%s/%s', and what it is allowed", p.obj.Namespace, ref.Name)
	}
	return fmt.Sprintf("; set spec.secretRef of the HelmRepository '%s'; many registries also answer so when the chart does not exist", p.src.name)
}

// nextForVersion says what the stored index has instead of what was not found, and how a newer one comes: a version that
// was published a minute ago is the common case, and the interval of a repository may be a day.
func (p *poll) nextForVersion(err error, list []index.Version) error {
	var none *index.NoMatchError
	offer := ""
	switch newest, pickErr := index.Pick(p.obj.Spec.Chart, ">=0.0.0-0", list); {
	case errors.Is(err, index.ErrUnknownChart):
		offer = fmt.Sprintf("the index has no chart '%s': correct the name", p.obj.Spec.Chart)
	case errors.As(err, &none) && pickErr == nil:
		offer = fmt.Sprintf("the newest in the index is '%s': correct the version", newest.Version)
	default:
		return err
	}
	return fmt.Errorf("%w; %s, or fetch the index anew with 'flux reconcile source helm %s -n %s'", err, offer, p.src.name, p.obj.Namespace)
}
