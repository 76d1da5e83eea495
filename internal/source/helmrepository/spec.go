package helmrepository

import (
	"errors"
	"fmt"
	"strings"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/charts/repo"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// checkSpec finds what no repetition would mend.
func checkSpec(obj *sourcev1.HelmRepository) *attempt.Failure {
	if strings.HasPrefix(obj.Spec.URL, "oci://") {
		return attempt.Stall(sourcev1.URLInvalidReason, errors.New("invalid Helm repository URL: 'oci' URL scheme cannot be used with 'default' HelmRepository type"))
	}
	if err := repo.CheckURL(obj.Spec.URL); err != nil {
		return attempt.Stall(sourcev1.URLInvalidReason, fmt.Errorf("invalid Helm repository URL: %w", err))
	}
	return nil
}
