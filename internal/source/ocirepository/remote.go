package ocirepository

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/auth/dockerconfig"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/registry"
)

// secretRefs names the Secrets of the spec.
func secretRefs(obj *sourcev1.OCIRepository) (names []string) {
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

// known is a repository that was built from Secrets of these versions; it is kept so that a look at the registry needs
// neither a look at the API server nor another login.
type known struct {
	versions string
	repo     *registry.Repository
	until    time.Time // when its login ends, zero for never
	// accepted is the last question about a signature that was answered well (verify.go).
	accepted string
}

// remembered is what is known of the object, nothing at first.
func remembered(req *request) known {
	if k, ok := req.Memory().(*known); ok {
		return *k
	}
	return known{}
}

// forget drops the repository, so that nothing that the registry said before is believed the next time.
func forget(req *request) { req.Remember(&known{accepted: remembered(req).accepted}) }

// versions names the spec and the Secrets that a repository is built from; ok is false if the kernel cannot tell.
func (c *controller) versions(obj *sourcev1.OCIRepository, sa *corev1.ServiceAccount) (text string, ok bool) {
	text = fmt.Sprint(obj.Generation)
	names := secretRefs(obj)
	if sa != nil {
		text += "/" + string(sa.UID) + "/" + sa.ResourceVersion
		for _, ref := range sa.ImagePullSecrets {
			names = append(names, ref.Name)
		}
	}
	for _, name := range names {
		ref := kernel.Secret(name)
		ref.Namespace = obj.Namespace
		v, known := c.cluster.Version(obj.Namespace, ref)
		if !known {
			return "", false
		}
		text += "/" + v
	}
	return text, true
}

// repository opens the repository, or takes the one of the last time if nothing that it is built from has changed.
func (c *controller) repository(ctx context.Context, req *request) (*registry.Repository, *failure) {
	sa, f := c.serviceAccount(ctx, req.Object)
	if f != nil {
		return nil, f
	}
	versions, ok := c.versions(req.Object, sa)
	if k := remembered(req); ok && k.repo != nil && k.versions == versions && (k.until.IsZero() || time.Now().Before(k.until)) {
		return k.repo, nil
	}
	remote, f := c.readRemote(ctx, req, sa)
	if f != nil {
		return nil, f
	}
	var until time.Time
	if cloudProvider(req.Object) != "" {
		if until, f = c.cloudLogin(ctx, req.Object, sa, &remote); f != nil {
			return nil, f
		}
	}
	repo, err := c.Registries.Open(remote)
	if err != nil {
		return nil, fetchFailed(sourcev1.AuthenticationFailedReason, fmt.Errorf("spec.certSecretRef: %w", err))
	}
	if ok {
		req.Remember(&known{versions, repo, until, remembered(req).accepted})
	}
	return repo, nil
}

func (c *controller) serviceAccount(ctx context.Context, obj *sourcev1.OCIRepository) (*corev1.ServiceAccount, *failure) {
	switch {
	case cloudProvider(obj) != "":
		return c.cloudAccount(ctx, obj)
	case obj.Spec.ServiceAccountName == "":
		return nil, nil
	}
	key := types.NamespacedName{Namespace: obj.Namespace, Name: obj.Spec.ServiceAccountName}
	sa, err := c.cluster.GetServiceAccount(ctx, key)
	if err != nil {
		return nil, noCredential(unread("service account", "spec.serviceAccountName", key, err))
	}
	return sa, nil
}

func (c *controller) readRemote(ctx context.Context, req *request, sa *corev1.ServiceAccount) (r registry.Remote, f *failure) {
	obj := req.Object
	r = registry.Remote{URL: obj.Spec.URL, Insecure: obj.Spec.Insecure}
	if cloudProvider(obj) == "" {
		if r.Login, f = c.login(ctx, obj, sa); f != nil {
			return r, f
		}
	}
	if ref := obj.Spec.CertSecretRef; ref != nil {
		secret, f := c.secret(ctx, obj, "spec.certSecretRef", ref.Name)
		if f != nil {
			return r, f
		}
		files, legacy, err := auth.ReadTLS(nameOf(obj, ref.Name), secret.Data)
		if err == nil && files.IsZero() {
			err = fmt.Errorf("invalid '%s' secret data: it needs '%s', or '%s' and '%s', or all three", nameOf(obj, ref.Name), auth.KeyCA, auth.KeyCert, auth.KeyKey)
		}
		if err != nil {
			return r, fetchFailed(sourcev1.AuthenticationFailedReason, err)
		}
		if legacy {
			req.Log.Info("the Secret uses the keys caFile, certFile or keyFile; rename them to ca.crt, tls.crt, tls.key", "secret", nameOf(obj, ref.Name))
		}
		r.TLS = files
	}
	if ref := obj.Spec.ProxySecretRef; ref != nil {
		secret, f := c.secret(ctx, obj, "spec.proxySecretRef", ref.Name)
		if f != nil {
			return r, f
		}
		proxy, err := auth.ReadProxy(nameOf(obj, ref.Name), secret.Data)
		if err != nil {
			return r, fetchFailed(sourcev1.AuthenticationFailedReason, err)
		}
		r.Proxy = proxy
	}
	return r, nil
}

// login finds the login for the registry in the pull secrets: that of the spec first, then those of the account.
func (c *controller) login(ctx context.Context, obj *sourcev1.OCIRepository, sa *corev1.ServiceAccount) (auth.Login, *failure) {
	var names []string
	if ref := obj.Spec.SecretRef; ref != nil {
		names = append(names, ref.Name)
	}
	own := len(names)
	if sa != nil {
		for _, ref := range sa.ImagePullSecrets {
			names = append(names, ref.Name)
		}
	}
	var config dockerconfig.Config
	for i, name := range names {
		field := "spec.secretRef"
		if i >= own {
			field = fmt.Sprintf("imagePullSecrets of the ServiceAccount '%s'", nameOf(obj, sa.Name))
		}
		secret, f := c.secret(ctx, obj, field, name)
		if f != nil {
			return auth.Login{}, noCredential(f.err)
		}
		more, err := dockerconfig.ReadSecret(nameOf(obj, name), secret.Data)
		if err != nil {
			return auth.Login{}, noCredential(err)
		}
		config = config.With(more)
	}
	host, repository, err := registry.HostAndName(obj.Spec.URL)
	if err != nil {
		return auth.Login{}, stalled(sourcev1.URLInvalidReason, err)
	}
	return config.Login(host, repository), nil
}

func noCredential(err error) *failure {
	return fetchFailed(sourcev1.AuthenticationFailedReason, fmt.Errorf("failed to get credential: %w", err))
}

// secret reads the Secret that a field names.
func (c *controller) secret(ctx context.Context, obj *sourcev1.OCIRepository, field, name string) (*corev1.Secret, *failure) {
	key := types.NamespacedName{Namespace: obj.Namespace, Name: name}
	secret, err := c.cluster.GetSecret(ctx, key)
	if err != nil {
		return nil, fetchFailed(sourcev1.AuthenticationFailedReason, unread("secret", field, key, err))
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

func nameOf(obj *sourcev1.OCIRepository, name string) string { return obj.Namespace + "/" + name }
