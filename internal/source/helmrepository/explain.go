package helmrepository

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/charts/index"
	"github.com/gitops-toolkit/flux/internal/charts/repo"
	"github.com/gitops-toolkit/flux/internal/netcause"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// unfetched is the failure to fetch the index, with its cause where the text does not tell it, and what to do next. The
// text that people and their alerts know stays at the beginning, and is all there is about a URL without an index.
func (p *poll) unfetched(err error) *attempt.Failure {
	var status *repo.StatusError
	errors.As(err, &status)
	if next := next(p.obj, status, err); next != "" {
		err = fmt.Errorf("%w; %s", err, next)
	}
	return attempt.Fetch(meta.FailedReason, fmt.Errorf("failed to fetch Helm repository index: failed to cache index to temporary file: %w", err))
}

func next(obj *sourcev1.HelmRepository, status *repo.StatusError, err error) string {
	switch {
	case status != nil && (status.StatusCode == http.StatusUnauthorized || status.StatusCode == http.StatusForbidden):
		if ref := obj.Spec.SecretRef; ref != nil {
			return fmt.Sprintf("check the login in the Secret '%s/%s', and what it is allowed", obj.Namespace, ref.Name)
		}
		return "set spec.secretRef to a Secret with username and password"
	case status != nil && status.After > 0:
		return fmt.Sprintf("the server asks to wait %s", status.After.Round(time.Second))
	case errors.Is(err, repo.ErrTooLarge):
		return "raise --helm-index-max-size of source-controller, or have old versions removed from the index"
	}
	if cause := netcause.Of(err); cause.Explain("server") != "" {
		return cause.Explain("server") + nextOf(obj, cause)
	}
	return ""
}

// nextOf adds the field that a cause is about.
func nextOf(obj *sourcev1.HelmRepository, cause netcause.Cause) string {
	if cause == netcause.Timeout {
		return fmt.Sprintf("; check that it can be reached from the cluster, or raise spec.timeout (%s)", obj.GetTimeout())
	}
	if cause == netcause.Proxy {
		return "; check spec.url, and " + access.ProxyName(obj.Namespace, nil)
	}
	return "; check spec.url and spec.certSecretRef"
}

// explainContent says what to do about an index that cannot be used.
func explainContent(obj *sourcev1.HelmRepository, err error) error {
	if errors.Is(err, index.ErrNoAPIVersion) {
		return err // upstream's text as a whole
	}
	return fmt.Errorf("%w; check that '%s' is the URL of a Helm repository", err, obj.Spec.URL)
}
