// Package gitremote builds the way to the Git server of a GitRepository, with the credentials that may push to it.
package gitremote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/githubapp"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/gitrepo/credentials"
)

// Cluster reads what holds credentials.
type Cluster interface {
	GetSecret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error)
	// CheckCloudAccount and CloudAccount see to the ServiceAccount whose identity at a cloud logs in.
	CheckCloudAccount(named, field, purpose string) error
	CloudAccount(ctx context.Context, namespace, named, fallback string) (*corev1.ServiceAccount, error)
}

// Clouds get logins for the Git hosts of clouds.
type Clouds interface {
	Git(ctx context.Context, provider string, id cloud.Identity, repository string) (cloud.GitLogin, time.Time, error)
}

// Builder builds remotes.
type Builder struct {
	Cluster Cluster
	// Tokens are those of GitHub Apps.
	Tokens *githubapp.Tokens
	Clouds Clouds
	// DefaultAccount is the ServiceAccount whose identity at a cloud is used where a GitRepository names none.
	DefaultAccount string
}

// SecretNames are the Secrets that a GitRepository names for the way to its server.
func SecretNames(repo *sourcev1.GitRepository) (names []string) {
	if ref := repo.Spec.SecretRef; ref != nil {
		names = append(names, ref.Name)
	}
	if ref := repo.Spec.ProxySecretRef; ref != nil {
		names = append(names, ref.Name)
	}
	return names
}

var errNoApp = errors.New("secretRef with github app data must be specified when provider is set to github")

// Build returns the remote, and until when its credentials are good; zero if they do not age.
func (b Builder) Build(ctx context.Context, repo *sourcev1.GitRepository) (r gitrepo.Remote, until time.Time, err error) {
	r = gitrepo.Remote{URL: repo.Spec.URL}
	if ref := repo.Spec.ProxySecretRef; ref != nil {
		secret, err := b.secret(ctx, repo, "spec.proxySecretRef", ref.Name)
		if err != nil {
			return r, until, err
		}
		if r.Proxy, err = auth.ReadProxy(named(secret), secret.Data); err != nil {
			return r, until, err
		}
	}
	var secret *corev1.Secret
	if ref := repo.Spec.SecretRef; ref != nil {
		if secret, err = b.secret(ctx, repo, "spec.secretRef", ref.Name); err != nil {
			return r, until, err
		}
	}
	app := secret != nil && githubapp.Described(secret.Data)
	switch provider := cmp.Or(repo.Spec.Provider, cloud.Generic); {
	case provider == sourcev1.GitHubProvider && !app:
		return r, until, errNoApp
	case provider == sourcev1.GitHubProvider:
		r.Auth, until, err = b.app(ctx, repo, secret, r.Proxy)
	case app:
		err = fmt.Errorf("secretRef '%s' has github app data but provider is not set to github", named(secret))
	case provider == sourcev1.AzureProvider, provider == sourcev1.AWSProvider:
		r.Auth, until, err = b.cloud(ctx, repo, secret, r.Proxy)
	case secret == nil:
		r.Auth, err = credentials.Read(repo.Spec.URL, "", nil)
	default:
		r.Auth, err = credentials.Read(repo.Spec.URL, named(secret), secret.Data)
	}
	return r, until, err
}

// app logs in as a GitHub App. The token is renewed in time; the Principal stays, and with it the mirror.
func (b Builder) app(ctx context.Context, repo *sourcev1.GitRepository, secret *corev1.Secret, proxy *url.URL) (gitrepo.Auth, time.Time, error) {
	app, err := githubapp.Read(named(secret), secret.Data)
	if err != nil {
		return gitrepo.Auth{}, time.Time{}, err
	}
	app.Proxy = proxy
	ctx, cancel := context.WithTimeout(ctx, repo.GetTimeout())
	defer cancel()
	token, err := b.Tokens.Get(ctx, app)
	if err != nil {
		return gitrepo.Auth{}, time.Time{}, fmt.Errorf("%w; check 'githubApp*' in the Secret '%s', and that the App is installed there", err, named(secret))
	}
	return gitrepo.Auth{
		Username: githubapp.Username, Password: token.Value, Principal: app.Principal(),
		CA: app.TLS.CA, ClientCert: app.TLS.Cert, ClientKey: app.TLS.Key,
	}, token.Until, nil
}

// cloud logs in with an identity at a cloud. A Secret may add the TLS files.
func (b Builder) cloud(ctx context.Context, repo *sourcev1.GitRepository, secret *corev1.Secret, proxy *url.URL) (a gitrepo.Auth, until time.Time, err error) {
	if secret != nil {
		if a, err = credentials.Read(repo.Spec.URL, named(secret), secret.Data); err != nil {
			return a, until, err
		}
	}
	if err := b.Cluster.CheckCloudAccount(repo.Spec.ServiceAccountName, "spec.serviceAccountName", "provider"); err != nil {
		return a, until, err
	}
	account, err := b.Cluster.CloudAccount(ctx, repo.Namespace, repo.Spec.ServiceAccountName, b.DefaultAccount)
	if err != nil {
		return a, until, err
	}
	ctx, cancel := context.WithTimeout(ctx, repo.GetTimeout())
	defer cancel()
	login, until, err := b.Clouds.Git(ctx, repo.Spec.Provider, cloud.Identity{Account: cloud.AccountOf(account), Proxy: proxy}, repo.Spec.URL)
	if err != nil {
		return a, until, err
	}
	a.Username, a.Password, a.BearerToken = login.Username, login.Password, login.BearerToken
	a.Principal = repo.Spec.Provider
	if account != nil {
		a.Principal += "/" + account.Namespace + "/" + account.Name
	}
	return a, until, nil
}

// secret reads the Secret that a field of the GitRepository names.
func (b Builder) secret(ctx context.Context, repo *sourcev1.GitRepository, field, name string) (*corev1.Secret, error) {
	key := types.NamespacedName{Namespace: repo.Namespace, Name: name}
	secret, err := b.Cluster.GetSecret(ctx, key)
	if err == nil {
		return secret, nil
	}
	err = fmt.Errorf("failed to get secret '%s': %w", key, err)
	if apierrors.IsNotFound(err) {
		err = fmt.Errorf("%w; create it, or correct %s of the GitRepository '%s/%s'", err, field, repo.Namespace, repo.Name)
	}
	return nil, err
}

func named(s *corev1.Secret) string { return s.Namespace + "/" + s.Name }
