// Package access opens the registries that ImageRepositories name: it checks the image, gathers logins, TLS files and
// proxy from the Secrets that the object refers to, and keeps what came of it until one of them changes.
package access

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/auth/dockerconfig"
	"github.com/gitops-toolkit/flux/internal/image/spec"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry"
)

// Cluster reads what holds credentials, and tells versions without a request.
type Cluster interface {
	GetSecret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error)
	GetServiceAccount(ctx context.Context, key types.NamespacedName) (*corev1.ServiceAccount, error)
	Version(namespace string, ref kernel.Reference) (version string, ok bool)
	// CheckCloudAccount and CloudAccount see to the ServiceAccount whose identity at a cloud logs in.
	CheckCloudAccount(named, field, purpose string) error
	CloudAccount(ctx context.Context, namespace, named, fallback string) (*corev1.ServiceAccount, error)
}

// Clouds get logins for the registries of clouds.
type Clouds interface {
	Registry(ctx context.Context, provider string, id cloud.Identity, host string) (auth.Login, time.Time, error)
}

// Manager is the Cluster of a controller.
type Manager struct{ *kernel.Manager }

// GetServiceAccount reads the account from the API server.
func (m Manager) GetServiceAccount(ctx context.Context, key types.NamespacedName) (*corev1.ServiceAccount, error) {
	sa := &corev1.ServiceAccount{}
	return sa, m.Live().Get(ctx, key, sa)
}

// Options of an Opener. All but DefaultAccount are required.
type Options struct {
	Cluster    Cluster
	Registries *registry.Pool
	Clouds     Clouds
	// DefaultAccount is the ServiceAccount whose identity at a cloud is used where an object names none.
	DefaultAccount string
}

// Opener opens registries. It is safe for concurrent use.
type Opener struct {
	Options

	mu    sync.Mutex
	known map[types.NamespacedName]known
}

// known is a repository that was built from Secrets of these versions; with it goes what the registry said about
// authentication, so that the next look needs neither the API server nor another login.
type known struct {
	versions string
	repo     *registry.Repository
	until    time.Time // zero if its login does not age
}

// NewOpener returns one that has opened nothing.
func NewOpener(o Options) *Opener {
	return &Opener{Options: o, known: map[types.NamespacedName]known{}}
}

// Host is the registry of an image, "" if it names none.
func Host(image string) string {
	host, _, _ := registry.HostAndName(registry.URLPrefix + image)
	return strings.ToLower(host)
}

// SecretNames are the Secrets that the object names.
func SecretNames(obj *imagev1.ImageRepository) (names []string) {
	if ref := obj.Spec.SecretRef; ref != nil {
		names = append(names, ref.Name)
	}
	if ref := obj.Spec.CertSecretRef; ref != nil {
		names = append(names, ref.Name)
	}
	if ref := obj.Spec.ProxySecretRef; ref != nil {
		names = append(names, ref.Name)
	}
	return names
}

// Open opens the repository, or takes the one of the last time if nothing that it is built from has changed. Errors
// that are neither spec.ErrImage nor a kernel.GateDisabledError are about credentials.
func (o *Opener) Open(ctx context.Context, obj *imagev1.ImageRepository) (*registry.Repository, error) {
	if _, err := spec.CheckImage(obj.Spec.Image); err != nil {
		return nil, err
	}
	sa, err := o.account(ctx, obj)
	if err != nil {
		return nil, err
	}
	key := types.NamespacedName{Namespace: obj.Namespace, Name: obj.Name}
	versions, ok := o.Versions(obj, sa)
	o.mu.Lock()
	k, found := o.known[key]
	o.mu.Unlock()
	if ok && found && k.versions == versions && (k.until.IsZero() || time.Now().Before(k.until)) {
		return k.repo, nil
	}
	remote, until, err := o.remote(ctx, obj, sa)
	if err != nil {
		return nil, err
	}
	repo, err := o.Registries.Open(remote)
	if err != nil {
		return nil, fmt.Errorf("spec.certSecretRef: %w", err)
	}
	if ok {
		o.mu.Lock()
		o.known[key] = known{versions, repo, until}
		o.mu.Unlock()
	}
	return repo, nil
}

// Forget drops what is kept of an object, such as after a failure: what the registry said is asked anew.
func (o *Opener) Forget(key types.NamespacedName) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.known, key)
}

// Versions names the spec and the Secrets that a repository is built from; ok is false if the kernel cannot tell.
func (o *Opener) Versions(obj *imagev1.ImageRepository, sa *corev1.ServiceAccount) (text string, ok bool) {
	text = fmt.Sprintf("%s/%d", obj.UID, obj.Generation)
	names := SecretNames(obj)
	if sa != nil {
		text += "/" + string(sa.UID) + "/" + sa.ResourceVersion
		for _, ref := range sa.ImagePullSecrets {
			names = append(names, ref.Name)
		}
	}
	for _, name := range names {
		v, known := o.Cluster.Version(obj.Namespace, kernel.Secret(name))
		if !known {
			return "", false
		}
		text += "/" + v
	}
	return text, true
}

// byCloud tells whether a cloud provider logs in.
func byCloud(obj *imagev1.ImageRepository) bool {
	return cmp.Or(obj.Spec.Provider, cloud.Generic) != cloud.Generic
}

// account is the ServiceAccount whose pull secrets, or whose identity at a cloud, log in; nil if there is none.
func (o *Opener) account(ctx context.Context, obj *imagev1.ImageRepository) (*corev1.ServiceAccount, error) {
	if byCloud(obj) {
		if err := o.Cluster.CheckCloudAccount(obj.Spec.ServiceAccountName, "spec.serviceAccountName", "provider"); err != nil {
			return nil, err
		}
		return o.Cluster.CloudAccount(ctx, obj.Namespace, obj.Spec.ServiceAccountName, o.DefaultAccount)
	}
	if obj.Spec.ServiceAccountName == "" {
		return nil, nil
	}
	key := types.NamespacedName{Namespace: obj.Namespace, Name: obj.Spec.ServiceAccountName}
	sa, err := o.Cluster.GetServiceAccount(ctx, key)
	if err != nil {
		return nil, unread("service account", "spec.serviceAccountName", key, err)
	}
	return sa, nil
}

func (o *Opener) remote(ctx context.Context, obj *imagev1.ImageRepository, sa *corev1.ServiceAccount) (r registry.Remote, until time.Time, err error) {
	r = registry.Remote{URL: registry.URLPrefix + obj.Spec.Image, Insecure: obj.Spec.Insecure}
	if ref := obj.Spec.CertSecretRef; ref != nil {
		secret, err := o.secret(ctx, obj, "spec.certSecretRef", ref.Name)
		if err != nil {
			return r, until, err
		}
		files, _, err := auth.ReadTLS(nameOf(obj, ref.Name), secret.Data)
		if err == nil && files.IsZero() {
			err = fmt.Errorf("invalid '%s' secret data: it needs '%s', or '%s' and '%s', or all three", nameOf(obj, ref.Name), auth.KeyCA, auth.KeyCert, auth.KeyKey)
		}
		if err != nil {
			return r, until, err
		}
		r.TLS = files
	}
	if ref := obj.Spec.ProxySecretRef; ref != nil {
		secret, err := o.secret(ctx, obj, "spec.proxySecretRef", ref.Name)
		if err != nil {
			return r, until, err
		}
		if r.Proxy, err = auth.ReadProxy(nameOf(obj, ref.Name), secret.Data); err != nil {
			return r, until, err
		}
	}
	if byCloud(obj) {
		id := cloud.Identity{Account: cloud.AccountOf(sa), Proxy: r.Proxy}
		r.Login, until, err = o.Clouds.Registry(ctx, obj.Spec.Provider, id, Host(obj.Spec.Image))
		return r, until, err
	}
	r.Login, err = o.login(ctx, obj, sa)
	return r, until, err
}

// login finds the login for the registry in the pull secrets: that of the spec first, then those of the account.
func (o *Opener) login(ctx context.Context, obj *imagev1.ImageRepository, sa *corev1.ServiceAccount) (auth.Login, error) {
	var config dockerconfig.Config
	add := func(field, name string) error {
		secret, err := o.secret(ctx, obj, field, name)
		if err != nil {
			return err
		}
		more, err := dockerconfig.ReadSecret(nameOf(obj, name), secret.Data)
		config = config.With(more)
		return err
	}
	if ref := obj.Spec.SecretRef; ref != nil {
		if err := add("spec.secretRef", ref.Name); err != nil {
			return auth.Login{}, err
		}
	}
	if sa != nil {
		for _, ref := range sa.ImagePullSecrets {
			if err := add(fmt.Sprintf("imagePullSecrets of the ServiceAccount '%s'", nameOf(obj, sa.Name)), ref.Name); err != nil {
				return auth.Login{}, err
			}
		}
	}
	host, repository, err := registry.HostAndName(registry.URLPrefix + obj.Spec.Image)
	if err != nil {
		return auth.Login{}, err
	}
	return config.Login(host, repository), nil
}

// secret reads the Secret that a field names.
func (o *Opener) secret(ctx context.Context, obj *imagev1.ImageRepository, field, name string) (*corev1.Secret, error) {
	key := types.NamespacedName{Namespace: obj.Namespace, Name: name}
	secret, err := o.Cluster.GetSecret(ctx, key)
	if err != nil {
		return nil, unread("secret", field, key, err)
	}
	return secret, nil
}

// unread is why an object that a field names could not be read.
func unread(what, field string, key types.NamespacedName, err error) error {
	err = fmt.Errorf("failed to get %s '%s': %w", what, key, err)
	if apierrors.IsNotFound(err) {
		err = fmt.Errorf("%w; create it, or correct %s", err, field)
	}
	return err
}

func nameOf(obj *imagev1.ImageRepository, name string) string { return obj.Namespace + "/" + name }
