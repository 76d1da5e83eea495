package gitrepository

import (
	"context"
	"errors"
	"fmt"
	"time"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
)

// configs reads Secrets and their versions; the kernel's Manager does.
type configs interface {
	access.Secrets
	access.Versions
}

// known is a remote that was built from Secrets of these versions; it is kept so that a look at the repository needs
// no look at the API server.
type known struct {
	versions string
	remote   gitrepo.Remote
	until    time.Time // zero if its credentials do not age
	// trusted is the version of the public keys that the artifact was verified with, "" if that is not known (verify.go).
	trusted string
}

// remembered is what is known of the object, nothing at first.
func remembered(req *request) known {
	if k, ok := req.Memory().(*known); ok {
		return *k
	}
	return known{}
}

// secretNames are the Secrets that the object names.
func secretNames(obj *sourcev1.GitRepository) []string {
	names := access.GitSecrets(obj)
	if v := obj.Spec.Verification; v != nil {
		names = append(names, v.SecretRef.Name)
	}
	return names
}

// versions names the spec and the Secrets that a remote is built from; ok is false if the kernel cannot tell.
func (c *controller) versions(obj *sourcev1.GitRepository) (text string, ok bool) {
	return access.State(c.configs, obj.Namespace, fmt.Sprint(obj.Generation), secretNames(obj))
}

// remote builds the remote, or takes the one of the last time if nothing that it is built from has changed.
func (c *controller) remote(ctx context.Context, req *request) (gitrepo.Remote, *attempt.Failure) {
	versions, ok := c.versions(req.Object)
	k := remembered(req)
	if ok && k.versions == versions && (k.until.IsZero() || time.Now().Before(k.until)) {
		return k.remote, nil
	}
	git := access.Git{Secrets: c.configs, Accounts: c.accounts, Tokens: c.Tokens, Clouds: c.Clouds, DefaultAccount: c.fallback}
	r, until, err := git.Remote(ctx, req.Log, req.Object)
	switch {
	case errors.Is(err, access.ErrProvider):
		return r, attempt.Fetch(sourcev1.InvalidProviderConfigurationReason, err)
	case err != nil:
		return r, attempt.Fetch(sourcev1.AuthenticationFailedReason, err)
	}
	if ok {
		req.Remember(&known{versions: versions, remote: r, until: until, trusted: k.trusted})
	}
	return r, nil
}
