package gitrepository

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/Masterminds/semver/v3"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/gitrepo/credentials"
	"github.com/gitops-toolkit/flux/internal/gitrepo/lfs"
	"github.com/gitops-toolkit/flux/internal/netcause"
)

// explain adds to an error of the library what to do next, and rewords those that are about a Secret. The texts that
// people and their alerts know stay at the beginning.
func explain(obj *sourcev1.GitRepository, err error) error {
	if errors.Is(err, gitrepo.ErrEncryptedKey) {
		return fmt.Errorf("SSH identity key is encrypted but no 'password' field was provided in the secret '%s'; "+
			"add it, or use a key without a passphrase", secretName(obj))
	}
	next := nextOfAccess(obj, err)
	if next == "" {
		next = nextOfContent(obj, err)
	}
	if next == "" {
		return err
	}
	return fmt.Errorf("%w; %s", err, next)
}

// secretName is the Secret of spec.secretRef, "" without one.
func secretName(obj *sourcev1.GitRepository) string {
	if ref := obj.Spec.SecretRef; ref != nil {
		return obj.Namespace + "/" + ref.Name
	}
	return ""
}

// nextOfAccess is what to do when the repository is out of reach.
func nextOfAccess(obj *sourcev1.GitRepository, err error) string {
	secret := secretName(obj)
	switch {
	case errors.Is(err, gitrepo.ErrAuthentication), errors.Is(err, gitrepo.ErrAuthorization):
		if secret != "" {
			return fmt.Sprintf("check the credentials in the Secret '%s', and what they are allowed", secret)
		}
		return "set spec.secretRef to a Secret with credentials for this repository"
	case errors.Is(err, gitrepo.ErrCredentials):
		if secret != "" {
			return fmt.Sprintf("correct the Secret '%s'", secret)
		}
		return "correct the credentials in spec.url, or set spec.secretRef"
	case errors.Is(err, gitrepo.ErrRepositoryNotFound):
		return "check spec.url; many servers also answer so when credentials are missing"
	case errors.Is(err, gitrepo.ErrRedirect):
		return "set spec.url to the address where the repository is now"
	case errors.Is(err, gitrepo.ErrProxy), netcause.Of(err) == netcause.Proxy:
		return "check spec.url, and " + access.ProxyName(obj.Namespace, obj.Spec.ProxySecretRef)
	case errors.Is(err, gitrepo.ErrBusy):
		return "the next attempt follows by itself; if it goes on, look at the server of spec.url"
	case errors.Is(err, gitrepo.ErrHostKey):
		return fmt.Sprintf("if the key is right, add it to '%s' in the Secret '%s'", credentials.KnownHosts, secret)
	}
	return nextOfConnection(obj, netcause.Of(err))
}

// nextOfContent is what to do when the repository does not have what is wanted.
func nextOfContent(obj *sourcev1.GitRepository, err error) string {
	var sub submoduleError
	inner := errors.As(err, &sub)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "enlarge the volume of the controller's storage, or lower --artifact-retention-records and --artifact-retention-ttl"
	case errors.Is(err, gitrepo.ErrEmpty):
		return fmt.Sprintf("push a commit to '%s'", gitrepo.RedactURL(obj.Spec.URL))
	case errors.Is(err, gitrepo.ErrObjectFormat):
		return "make the repository anew with 'git init --object-format=sha1', or publish its files with 'flux push artifact' and use an OCIRepository"
	case errors.Is(err, gitrepo.ErrTree):
		return "push a commit without it, as no consumer could unpack it safely"
	case errors.Is(err, lfs.ErrObject):
		return fmt.Sprintf("push it with 'git lfs push --all', or remove the annotation '%s'", largeAnnotation)
	case errors.Is(err, gitrepo.ErrSubmodule):
		return "correct '.gitmodules' in the repository, or remove spec.recurseSubmodules"
	case errors.Is(err, gitrepo.ErrDamaged):
		return "the next attempt builds the mirror anew"
	case errors.Is(err, gitrepo.ErrReference) && inner:
		return "push the submodule's commit to where '.gitmodules' says, or remove spec.recurseSubmodules"
	}
	return nextOfReference(obj, err)
}

// fullCommit is how many digits a commit has.
const fullCommit = 40

// nextOfReference names the field of spec.ref that asks for what is not there. It is silent about a branch that
// spec.ref names: that message is upstream's as a whole, and it names the branch.
func nextOfReference(obj *sourcev1.GitRepository, err error) string {
	ref := reference(obj)
	missing := errors.Is(err, gitrepo.ErrReference)
	switch {
	case ref.Commit != "" && len(ref.Commit) != fullCommit && missing:
		return fmt.Sprintf("write all %d digits in spec.ref.commit", fullCommit)
	case ref.Commit != "" && missing:
		return fmt.Sprintf("check spec.ref.commit, and that it was pushed to '%s'", gitrepo.RedactURL(obj.Spec.URL))
	case ref.Name != "" && missing:
		return "check spec.ref.name"
	case ref.Tag != "" && missing:
		return "check spec.ref.tag"
	case missing && (obj.Spec.Reference == nil || *obj.Spec.Reference == sourcev1.GitRepositoryRef{}):
		return "spec.ref is not set; set spec.ref.branch to the branch that you mean"
	case ref.SemVer != "" && missing:
		return fmt.Sprintf("no tag of '%s' matches spec.ref.semver", gitrepo.RedactURL(obj.Spec.URL))
	case ref.Commit == "" && ref.Name == "" && ref.Tag == "" && badRange(ref.SemVer):
		return "correct spec.ref.semver, such as '>=1.0.0 <2.0.0'"
	}
	return ""
}

func badRange(text string) bool {
	if text == "" {
		return false
	}
	_, err := semver.NewConstraint(text)
	return err != nil
}

// nextOfConnection is what to do when there is no connection, or one side does not accept who the other is.
func nextOfConnection(obj *sourcev1.GitRepository, cause netcause.Cause) string {
	switch cause {
	case netcause.Timeout:
		return fmt.Sprintf("check that the host can be reached from the cluster, or raise spec.timeout (%s)", obj.GetTimeout())
	case netcause.Authority:
		return fmt.Sprintf("if the server has a private authority, put its certificate into '%s' of the Secret in spec.secretRef", auth.KeyCA)
	case netcause.OtherHost:
		return "check spec.url, or give the server a certificate for it"
	case netcause.Expired, netcause.Invalid:
		return "give the server a certificate that is valid"
	case netcause.Refused:
		return fmt.Sprintf("the server wants another client certificate: see '%s' and '%s' of the Secret in spec.secretRef", auth.KeyCert, auth.KeyKey)
	case netcause.NoSuchHost, netcause.Unreachable:
		return "check spec.url, and that the host can be reached from the cluster"
	}
	return ""
}
