// Package helmaccess reads from a HelmRepository and its Secrets how to reach it: as both the controller of
// HelmRepositories, which fetches indexes, and that of HelmCharts, which fetches charts, need it, and the command line too.
package helmaccess

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-logr/logr"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/charts/index"
	"github.com/gitops-toolkit/flux/internal/charts/repo"
	"github.com/gitops-toolkit/flux/internal/registry"
)

// Cluster reads Secrets.
type Cluster = access.Secrets

// CloudLogin asks a cloud provider for a login at a registry, as the controller; until is when it ends.
type CloudLogin func(ctx context.Context, provider, host string) (login auth.Login, until time.Time, err error)

// ErrSettings says that a Secret lacks something or is not usable; anything else is the API server's error.
var ErrSettings = errors.New("invalid settings")

// settings is an ErrSettings with the text of its cause.
type settings struct{ error }

func (e settings) Unwrap() []error { return []error{e.error, ErrSettings} }

// Secrets names the Secrets of a repository.
func Secrets(obj *sourcev1.HelmRepository) []string {
	return access.Names(obj.Spec.SecretRef, obj.Spec.CertSecretRef)
}

// Versions names the spec and the Secrets that a connection is made of; ok is false if that is not known without reading
// them.
func Versions(c access.Versions, obj *sourcev1.HelmRepository) (text string, ok bool) {
	return access.State(c, obj.Namespace, fmt.Sprintf("%s/%d", obj.UID, obj.Generation), Secrets(obj))
}

// HTTP opens a repository with an index.
func HTTP(ctx context.Context, c Cluster, log logr.Logger, obj *sourcev1.HelmRepository, pool *repo.Pool) (*repo.Repository, error) {
	s, err := read(ctx, c, log, obj, repo.ReadSecret)
	if err != nil {
		return nil, err
	}
	r, err := pool.Open(repo.Remote{
		URL: obj.Spec.URL, Username: s.Login.Username, Password: s.Login.Password, PassCredentials: obj.Spec.PassCredentials, TLS: s.TLS,
	})
	if err != nil && !errors.Is(err, repo.ErrURL) {
		err = settings{fmt.Errorf("%s: %w", tlsField(obj), err)}
	}
	return r, err
}

// tlsField is the field whose Secret has the TLS files.
func tlsField(obj *sourcev1.HelmRepository) string {
	if obj.Spec.CertSecretRef != nil {
		return "spec.certSecretRef"
	}
	return "spec.secretRef"
}

// Registry returns how to reach a chart in a registry, and until when that is good; zero is for ever.
func Registry(ctx context.Context, c Cluster, log logr.Logger, obj *sourcev1.HelmRepository, chart string, cloud CloudLogin) (registry.Remote, time.Time, error) {
	url := repo.Normalize(obj.Spec.URL) + "/" + chart
	host, repository, err := registry.HostAndName(url)
	if err != nil {
		return registry.Remote{}, time.Time{}, err
	}
	s, err := read(ctx, c, log, obj, func(secret string, data map[string][]byte) (repo.Secret, error) {
		return repo.ReadRegistrySecret(secret, data, host, repository)
	})
	if err != nil {
		return registry.Remote{}, time.Time{}, err
	}
	remote := registry.Remote{URL: url, Login: s.Login, TLS: s.TLS, Insecure: obj.Spec.Insecure}
	provider := cmp.Or(obj.Spec.Provider, sourcev1.GenericProvider)
	if provider == sourcev1.GenericProvider || obj.Spec.SecretRef != nil {
		return remote, time.Time{}, nil
	}
	login, until, err := cloud(ctx, provider, host)
	if err != nil {
		return registry.Remote{}, time.Time{}, settings{fmt.Errorf("failed to get credential from '%s': %w", provider, err)}
	}
	remote.Login = login
	return remote, until, nil
}

// IsLink tells whether the index has a version in a registry.
func IsLink(v index.Version) bool {
	return len(v.URLs) > 0 && strings.HasPrefix(v.URLs[0], registry.URLPrefix)
}

// Link returns where that is: the repository, and the tag or digest in it. The login of the index's own repository is not
// for it.
func Link(v index.Version) (r registry.Remote, id string, err error) {
	l, err := registry.ParseLocation(v.URLs[0])
	if id = l.Identifier(); l.Digest == "" && !strings.HasSuffix(v.URLs[0], ":"+id) {
		id = strings.ReplaceAll(v.Version, "+", "_")
	}
	return registry.Remote{URL: registry.URLPrefix + l.Repository}, id, err
}

// read reads the Secrets of a repository. TLS files of spec.certSecretRef win.
func read(ctx context.Context, c Cluster, log logr.Logger, obj *sourcev1.HelmRepository, parse func(string, map[string][]byte) (repo.Secret, error)) (s repo.Secret, err error) {
	reader := access.Reader{Secrets: c, Namespace: obj.Namespace, Owner: fmt.Sprintf(" of the HelmRepository '%s'", obj.Name), Log: log}
	secret, err := reader.Secret(ctx, "spec.secretRef", obj.Spec.SecretRef)
	if err != nil {
		return s, settings{err}
	}
	if secret != nil {
		if s, err = parse(access.NameOf(secret), secret.Data); err != nil {
			return s, settings{fmt.Errorf("failed to detect authentication methods: %w", err)}
		}
		if !s.TLS.IsZero() && obj.Spec.CertSecretRef == nil {
			log.Info("TLS files in the Secret of spec.secretRef are deprecated; name their Secret in spec.certSecretRef", "secret", access.NameOf(secret))
		}
	}
	secret, err = reader.Secret(ctx, "spec.certSecretRef", obj.Spec.CertSecretRef)
	if err != nil {
		return s, settings{err}
	}
	if secret == nil {
		return s, nil
	}
	files, err := reader.Files(secret)
	if err != nil {
		return s, settings{fmt.Errorf("failed to detect authentication methods: %w", err)}
	}
	s.TLS = files
	return s, nil
}

// IsRegistry tells whether a repository is a registry, which has no index.
func IsRegistry(obj *sourcev1.HelmRepository) bool {
	return obj.Spec.Type == sourcev1.HelmRepositoryTypeOCI
}

// Host of a repository's URL, for lanes.
func Host(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	host, _, _ := strings.Cut(rest, "/")
	return strings.ToLower(host[strings.LastIndex(host, "@")+1:])
}
