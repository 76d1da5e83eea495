package gitrepository

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// sparse leaves out what spec.sparseCheckout does not list.
func (p *poll) sparse(ctx context.Context, t *tree) *attempt.Failure {
	var paths []string
	for _, dir := range p.obj.Spec.SparseCheckout {
		paths = append(paths, sparsePath(dir))
	}
	if slices.Contains(paths, ".") {
		return nil
	}
	absent, err := t.keepOnly(ctx, paths)
	switch {
	case err == nil:
		return nil
	case !errors.Is(err, errAbsent):
		return p.gitFailed(err)
	}
	return attempt.Fetch(sourcev1.GitOperationFailedReason, fmt.Errorf(
		"failed to sparse checkout directories : sparse checkout dir '%s' does not exist in repository: %w; correct spec.sparseCheckout", absent, err))
}

// sparsePath is a path of the list as the tree has it. One that leads elsewhere stays as it is, and is not found.
func sparsePath(dir string) string {
	dir = strings.Trim(strings.TrimPrefix(dir, "./"), "/")
	if dir == "" {
		return "."
	}
	return dir
}
