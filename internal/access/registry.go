package access

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/dockerconfig"
	"github.com/gitops-toolkit/flux/internal/registry"
)

// RegistryClouds get logins for the registries of clouds; *cloud.Clouds does.
type RegistryClouds interface {
	Registry(ctx context.Context, provider string, id cloud.Identity, host string) (auth.Login, time.Time, error)
}

// Registries opens repositories of registries.
type Registries struct {
	Cluster Cluster
	Pool    *registry.Pool
	Clouds  RegistryClouds
	// DefaultAccount is the ServiceAccount whose identity at a cloud is used where an object names none.
	DefaultAccount string
}

// Repository is what a spec says of a repository in a registry.
type Repository struct {
	Namespace string
	// State changes with the spec.
	State string
	// URL with the scheme oci.
	URL      string
	Insecure bool
	// Cloud is the provider whose identity logs in; "" or generic for pull secrets.
	Cloud string
	// ServiceAccount has pull secrets, or is the identity at the cloud.
	ServiceAccount     string
	Pull, Certs, Proxy *meta.LocalObjectReference
	Timeout            time.Duration
	Log                logr.Logger
}

// Secrets are those that the spec names.
func (r Repository) Secrets() []string { return Names(r.Pull, r.Certs, r.Proxy) }

func (r Repository) byCloud() bool { return cmp.Or(r.Cloud, cloud.Generic) != cloud.Generic }

// Opened is a repository that was opened. It is kept, so that a look at the registry needs neither a look at the API
// server nor another login. The zero value is none.
type Opened struct {
	Repo  *registry.Repository
	state string
	until time.Time // when its login ends, zero for never
}

// LoginError says that there is no way to log in.
type LoginError struct{ Err error }

// Error is the text of the cause.
func (e *LoginError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *LoginError) Unwrap() error { return e.Err }

// Open opens the repository, or returns the one of before if nothing that it is built from has changed. Its errors are
// about credentials; those about the login are a *LoginError.
func (r Registries) Open(ctx context.Context, spec Repository, before Opened) (Opened, error) {
	sa, err := r.account(ctx, spec)
	if err != nil {
		return Opened{}, &LoginError{err}
	}
	state, ok := r.State(spec, sa)
	if ok && before.Repo != nil && before.state == state && (before.until.IsZero() || time.Now().Before(before.until)) {
		return before, nil
	}
	remote, until, err := r.remote(ctx, spec, sa)
	if err != nil {
		return Opened{}, err
	}
	repo, err := r.Pool.Open(remote)
	if err != nil {
		return Opened{}, fmt.Errorf("spec.certSecretRef: %w", err)
	}
	if !ok {
		state, until = "", time.Unix(1, 0)
	}
	return Opened{Repo: repo, state: state, until: until}, nil
}

// State names all that a repository is built from; ok is false if that cannot be told without reading it.
func (r Registries) State(spec Repository, sa *corev1.ServiceAccount) (text string, ok bool) {
	text, names := spec.State, spec.Secrets()
	if sa != nil {
		text += "/" + string(sa.UID) + "/" + sa.ResourceVersion
		for _, ref := range sa.ImagePullSecrets {
			names = append(names, ref.Name)
		}
	}
	return State(r.Cluster, spec.Namespace, text, names)
}

// account is the ServiceAccount whose pull secrets, or whose identity at a cloud, log in; nil if there is none.
func (r Registries) account(ctx context.Context, spec Repository) (*corev1.ServiceAccount, error) {
	if spec.byCloud() {
		if err := r.Cluster.CheckCloudAccount(spec.ServiceAccount, "spec.serviceAccountName", "provider"); err != nil {
			return nil, err
		}
		return r.Cluster.CloudAccount(ctx, spec.Namespace, spec.ServiceAccount, r.DefaultAccount)
	}
	if spec.ServiceAccount == "" {
		return nil, nil
	}
	key := types.NamespacedName{Namespace: spec.Namespace, Name: spec.ServiceAccount}
	sa, err := r.Cluster.GetServiceAccount(ctx, key)
	if err != nil {
		return nil, unread("service account", "spec.serviceAccountName", key, err)
	}
	return sa, nil
}

func (r Registries) remote(ctx context.Context, spec Repository, sa *corev1.ServiceAccount) (remote registry.Remote, until time.Time, err error) {
	read := Reader{Secrets: r.Cluster, Namespace: spec.Namespace, Log: spec.Log}
	remote = registry.Remote{URL: spec.URL, Insecure: spec.Insecure}
	host, repository, err := registry.HostAndName(spec.URL)
	if err != nil {
		return remote, until, err
	}
	if !spec.byCloud() {
		config, err := pullSecrets(ctx, read, spec.Pull, sa)
		if err != nil {
			return remote, until, &LoginError{err}
		}
		remote.Login = config.Login(host, repository)
	}
	if remote.TLS, err = read.TLS(ctx, "spec.certSecretRef", spec.Certs); err != nil {
		return remote, until, err
	}
	if remote.Proxy, err = read.Proxy(ctx, "spec.proxySecretRef", spec.Proxy); err != nil {
		return remote, until, err
	}
	if spec.byCloud() {
		ctx, cancel := context.WithTimeout(ctx, spec.Timeout)
		defer cancel()
		id := cloud.Identity{Account: cloud.AccountOf(sa), Proxy: remote.Proxy}
		if remote.Login, until, err = r.Clouds.Registry(ctx, spec.Cloud, id, host); err != nil {
			return remote, until, &LoginError{err}
		}
	}
	return remote, until, nil
}

// pullSecrets gathers logins: those of the spec first, then those of the account.
func pullSecrets(ctx context.Context, read Reader, own *meta.LocalObjectReference, sa *corev1.ServiceAccount) (config dockerconfig.Config, err error) {
	add := func(field string, ref *meta.LocalObjectReference) error {
		secret, err := read.Secret(ctx, field, ref)
		if err != nil || secret == nil {
			return err
		}
		more, err := dockerconfig.ReadSecret(NameOf(secret), secret.Data)
		config = config.With(more)
		return err
	}
	if err := add("spec.secretRef", own); err != nil || sa == nil {
		return config, err
	}
	for _, ref := range sa.ImagePullSecrets {
		field := fmt.Sprintf("imagePullSecrets of the ServiceAccount '%s/%s'", sa.Namespace, sa.Name)
		if err := add(field, &meta.LocalObjectReference{Name: ref.Name}); err != nil {
			return config, err
		}
	}
	return config, nil
}
