package access

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/githubapp"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/gitrepo/credentials"
)

// GitClouds get logins for the Git hosts of clouds; *cloud.Clouds does.
type GitClouds interface {
	Git(ctx context.Context, provider string, id cloud.Identity, repository string) (cloud.GitLogin, time.Time, error)
}

// Git makes remotes of GitRepositories.
type Git struct {
	Secrets  Secrets
	Accounts Accounts
	// Tokens are those of GitHub Apps.
	Tokens *githubapp.Tokens
	Clouds GitClouds
	// DefaultAccount is the ServiceAccount whose identity at a cloud is used where a GitRepository names none.
	DefaultAccount string
	// Foreign says that errors are told on other objects than the GitRepository.
	Foreign bool
}

// ErrProvider is wrapped by errors that mean that spec.provider and the Secret do not go together.
var ErrProvider = errors.New("invalid provider configuration")

// providerError is an ErrProvider with a text of its own.
type providerError string

func (e providerError) Error() string        { return string(e) }
func (e providerError) Is(target error) bool { return target == ErrProvider }

// ErrNoApp is the ErrProvider of a spec that wants a GitHub App and names none.
var ErrNoApp error = providerError("secretRef with github app data must be specified when provider is set to github")

// GitSecrets are the Secrets that a GitRepository names for the way to its server.
func GitSecrets(repo *sourcev1.GitRepository) []string {
	return Names(repo.Spec.SecretRef, repo.Spec.ProxySecretRef)
}

// gitCloud is the cloud whose identity logs in, "" for none.
func gitCloud(repo *sourcev1.GitRepository) string {
	if p := repo.Spec.Provider; p == sourcev1.AzureProvider || p == sourcev1.AWSProvider {
		return p
	}
	return ""
}

// Remote returns the remote, and until when its credentials are good; zero if they do not age. All errors are about
// credentials.
func (g Git) Remote(ctx context.Context, log logr.Logger, repo *sourcev1.GitRepository) (r gitrepo.Remote, until time.Time, err error) {
	read := Reader{Secrets: g.Secrets, Namespace: repo.Namespace, Log: log}
	if g.Foreign {
		read.Owner = fmt.Sprintf(" of the GitRepository '%s/%s'", repo.Namespace, repo.Name)
	}
	r = gitrepo.Remote{URL: repo.Spec.URL}
	if r.Proxy, err = read.Proxy(ctx, "spec.proxySecretRef", repo.Spec.ProxySecretRef); err != nil {
		return r, until, err
	}
	secret, err := read.Secret(ctx, "spec.secretRef", repo.Spec.SecretRef)
	if err != nil {
		return r, until, err
	}
	r.Auth, until, err = g.auth(ctx, read, repo, secret, r.Proxy)
	return r, until, err
}

func (g Git) auth(ctx context.Context, read Reader, repo *sourcev1.GitRepository, secret *corev1.Secret, proxy *url.URL) (a gitrepo.Auth, until time.Time, err error) {
	github := repo.Spec.Provider == sourcev1.GitHubProvider
	app := secret != nil && githubapp.Described(secret.Data)
	switch {
	case github && !app:
		return a, until, ErrNoApp
	case github:
		return g.app(ctx, repo, secret, proxy)
	case app:
		return a, until, providerError(fmt.Sprintf("secretRef '%s' has github app data but provider is not set to github", NameOf(secret)))
	}
	if gitCloud(repo) != "" {
		return g.cloud(ctx, read, repo, secret, proxy)
	}
	if secret == nil {
		a, _, err = credentials.Read(repo.Spec.URL, "", nil)
		return a, until, err
	}
	a, legacy, err := credentials.Read(repo.Spec.URL, NameOf(secret), secret.Data)
	if legacy {
		read.noteLegacy(secret)
	}
	return a, until, err
}

// app logs in as a GitHub App. The token is renewed in time; the Principal stays, and with it the mirror.
func (g Git) app(ctx context.Context, repo *sourcev1.GitRepository, secret *corev1.Secret, proxy *url.URL) (a gitrepo.Auth, until time.Time, err error) {
	app, err := githubapp.Read(NameOf(secret), secret.Data)
	if err != nil {
		return a, until, err
	}
	app.Proxy = proxy
	ctx, cancel := context.WithTimeout(ctx, repo.GetTimeout())
	defer cancel()
	token, err := g.Tokens.Get(ctx, app)
	if err != nil {
		return a, until, fmt.Errorf("%w; check 'githubApp*' in the Secret '%s', and that the App is installed there", err, NameOf(secret))
	}
	return gitrepo.Auth{
		Username: githubapp.Username, Password: token.Value, Principal: app.Principal(),
		CA: app.TLS.CA, ClientCert: app.TLS.Cert, ClientKey: app.TLS.Key,
	}, token.Until, nil
}

// cloud logs in at the Git host of a cloud, as the ServiceAccount or as the controller itself. A Secret, if there is one,
// adds authorities and a client certificate. The Principal stays when the login is renewed, and with it the mirror.
func (g Git) cloud(ctx context.Context, read Reader, repo *sourcev1.GitRepository, secret *corev1.Secret, proxy *url.URL) (a gitrepo.Auth, until time.Time, err error) {
	provider := gitCloud(repo)
	failed := func(err error) (gitrepo.Auth, time.Time, error) {
		return gitrepo.Auth{}, time.Time{}, fmt.Errorf("failed to get credential from %s: %w", provider, err)
	}
	if provider == sourcev1.AzureProvider {
		if err := checkAzureHost(repo.Spec.URL); err != nil {
			return failed(fmt.Errorf("%w; correct spec.url", err))
		}
	}
	files, err := read.files(secret)
	if err != nil {
		return a, until, err
	}
	if err := g.Accounts.CheckCloudAccount(repo.Spec.ServiceAccountName, "spec.serviceAccountName", "provider"); err != nil {
		return a, until, err
	}
	sa, err := g.Accounts.CloudAccount(ctx, repo.Namespace, repo.Spec.ServiceAccountName, g.DefaultAccount)
	if err != nil {
		return failed(err)
	}
	ctx, cancel := context.WithTimeout(ctx, repo.GetTimeout())
	defer cancel()
	id := cloud.Identity{Account: cloud.AccountOf(sa), Proxy: proxy}
	login, until, err := g.Clouds.Git(ctx, provider, id, repo.Spec.URL)
	if err != nil {
		return failed(err)
	}
	return gitrepo.Auth{
		Username: login.Username, Password: login.Password, BearerToken: login.BearerToken,
		CA: files.CA, ClientCert: files.Cert, ClientKey: files.Key,
		Principal: strings.Join([]string{"cloud", provider, principal(id.Account)}, ":"),
	}, until, nil
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
