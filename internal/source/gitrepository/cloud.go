package gitrepository

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// accounts finds the ServiceAccount whose identity at a cloud an object uses; the kernel's Manager does.
type accounts interface {
	CheckCloudAccount(named, field, purpose string) error
	CloudAccount(ctx context.Context, namespace, named, fallback string) (*corev1.ServiceAccount, error)
}

// logins gets what opens the Git hosts of clouds; *cloud.Clouds does.
type logins interface {
	Git(ctx context.Context, provider string, id cloud.Identity, repository string) (cloud.GitLogin, time.Time, error)
}

// cloudProvider is the cloud whose identity logs in, "" for none.
func cloudProvider(obj *sourcev1.GitRepository) string {
	if p := obj.Spec.Provider; p == sourcev1.AzureProvider || p == sourcev1.AWSProvider {
		return p
	}
	return ""
}

// checkAccount refuses a ServiceAccount while the gate for it is off.
func (c *controller) checkAccount(obj *sourcev1.GitRepository) *failure {
	if obj.Spec.ServiceAccountName == "" {
		return nil
	}
	if err := c.accounts.CheckCloudAccount(obj.Spec.ServiceAccountName, "spec.serviceAccountName", "provider"); err != nil {
		f := stalled(kernel.FeatureGateDisabledReason, err)
		f.unobserved = true
		return f
	}
	return nil
}

// checkAzureHost keeps the token, which opens all that the identity may read, from any other host.
func checkAzureHost(repository string) error {
	u, err := url.Parse(repository)
	if err != nil {
		return gitrepo.ParseURL(repository)
	}
	host := strings.ToLower(u.Hostname())
	if u.Scheme == "https" && u.Port() == "" && (host == "dev.azure.com" || strings.HasSuffix(host, ".visualstudio.com")) {
		return nil
	}
	return fmt.Errorf("invalid Azure DevOps URL: '%s'. must match https://dev.azure.com/{organization}/{project}/_git/{repository}", gitrepo.RedactURL(repository))
}

// cloudAuth logs in at the Git host of a cloud, as the ServiceAccount or as the controller itself. The Secret, if there
// is one, adds authorities and a client certificate. The Principal stays when the login is renewed, and with it the mirror.
func (c *controller) cloudAuth(ctx context.Context, obj *sourcev1.GitRepository, secret *corev1.Secret, proxy *url.URL) (gitrepo.Auth, time.Time, *failure) {
	provider := cloudProvider(obj)
	failed := func(err error) (gitrepo.Auth, time.Time, *failure) {
		return gitrepo.Auth{}, time.Time{}, fetchFailed(sourcev1.AuthenticationFailedReason, fmt.Errorf("failed to get credential from %s: %w", provider, err))
	}
	if provider == sourcev1.AzureProvider {
		if err := checkAzureHost(obj.Spec.URL); err != nil {
			return failed(fmt.Errorf("%w; correct spec.url", err))
		}
	}
	sa, err := c.accounts.CloudAccount(ctx, obj.Namespace, obj.Spec.ServiceAccountName, c.fallback)
	if err != nil {
		return failed(err)
	}
	ctx, cancel := context.WithTimeout(ctx, obj.GetTimeout())
	defer cancel()
	id := cloud.Identity{Account: cloud.AccountOf(sa), Proxy: proxy}
	login, until, err := c.Clouds.Git(ctx, provider, id, obj.Spec.URL)
	if err != nil {
		return failed(err)
	}
	a := gitrepo.Auth{
		Username: login.Username, Password: login.Password, BearerToken: login.BearerToken,
		Principal: strings.Join([]string{"cloud", provider, principal(id.Account)}, ":"),
	}
	if secret != nil {
		a.CA = either(secret.Data[keyCA], secret.Data[keyLegacyCA])
		a.ClientCert, a.ClientKey = either(secret.Data[keyCert], secret.Data[keyLegacyCert]), either(secret.Data[keyKey], secret.Data[keyLegacyKey])
	}
	return a, until, nil
}

// principal names an account, also against one that is made anew under the same name with other annotations.
func principal(a *cloud.Account) string {
	if a == nil {
		return "controller"
	}
	text := a.String() + ":" + a.UID
	for _, name := range []string{
		"eks.amazonaws.com/role-arn", "azure.workload.identity/client-id", "azure.workload.identity/tenant-id",
	} {
		text += ":" + cmp.Or(a.Annotations[name], "-")
	}
	return text
}
