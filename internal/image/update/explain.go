package update

import (
	"context"
	"errors"
	"fmt"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
)

// What a failure was about; the messages begin with it.
const (
	doingCheckout = "failed to checkout source"
	doingUpdate   = "failed to update source"
)

// gitFailed is the failure of a Git operation, with what to do next.
func gitFailed(doing string, r *run, err error) *failure {
	next := r.nextStep(doing == doingUpdate, err)
	err = fmt.Errorf("%s: %w", doing, err)
	if next != "" {
		err = fmt.Errorf("%w; %s", err, next)
	}
	return &failure{reason: imagev1.GitOperationFailedReason, err: err}
}

// nextStep is what to do about an error of Git, "" if its text says so.
func (r *run) nextStep(pushing bool, err error) string {
	switch {
	case errors.Is(err, errStale):
		return ""
	case errors.Is(err, gitrepo.ErrRejected):
		return fmt.Sprintf("a hook of the server or the protection of the branch refused it: allow it there, or name another branch than '%s' in spec.git.push.branch", r.branch)
	case errors.Is(err, gitrepo.ErrNonFastForward):
		return "others pushed faster; it is tried again"
	case errors.Is(err, gitrepo.ErrPushOptions):
		return "allow them at the server (git config receive.advertisePushOptions true), or remove spec.git.push.options"
	case errors.Is(err, gitrepo.ErrAuthentication), errors.Is(err, gitrepo.ErrAuthorization), pushing && errors.Is(err, gitrepo.ErrRepositoryNotFound):
		return r.nextLogin(pushing)
	case errors.Is(err, gitrepo.ErrReference):
		return "correct spec.git.checkout.ref or spec.ref of the GitRepository"
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("check that the server can be reached, or raise spec.timeout (%s) of the GitRepository", r.repo.GetTimeout())
	}
	return ""
}

// nextLogin is what to do when the server does not let us in, or not that far.
func (r *run) nextLogin(pushing bool) string {
	what := "read"
	if pushing {
		what = "write"
	}
	if ref := r.repo.Spec.SecretRef; ref != nil {
		return fmt.Sprintf("check that the credentials in the Secret '%s/%s' of the GitRepository '%s/%s' allow to %s",
			r.repo.Namespace, ref.Name, r.repo.Namespace, r.repo.Name, what)
	}
	if p := r.repo.Spec.Provider; p != "" && p != sourcev1.GenericProvider {
		return fmt.Sprintf("check that the identity by which the provider '%s' of the GitRepository '%s/%s' logs in may %s", p, r.repo.Namespace, r.repo.Name, what)
	}
	return fmt.Sprintf("set spec.secretRef of the GitRepository '%s/%s' to a Secret whose login may %s", r.repo.Namespace, r.repo.Name, what)
}
