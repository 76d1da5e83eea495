package access

import (
	"context"
	"fmt"
	"net/url"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/auth"
)

// Reader reads the Secrets that the fields of one object name. References that are nil mean nothing, and are no error.
type Reader struct {
	Secrets   Secrets
	Namespace string
	// Owner is added to the name of a field where the object is not the one that the error is told on, such as
	// " of the GitRepository 'apps/fleet'".
	Owner string
	// Log takes notes about keys of old. The zero value discards them.
	Log logr.Logger
}

// Secret reads the Secret that a field names.
func (r Reader) Secret(ctx context.Context, field string, ref *meta.LocalObjectReference) (*corev1.Secret, error) {
	if ref == nil {
		return nil, nil
	}
	key := types.NamespacedName{Namespace: r.Namespace, Name: ref.Name}
	secret, err := r.Secrets.GetSecret(ctx, key)
	if err != nil {
		return nil, unread("secret", field+r.Owner, key, err)
	}
	return secret, nil
}

// TLS reads TLS files. The Secret has to have some.
func (r Reader) TLS(ctx context.Context, field string, ref *meta.LocalObjectReference) (auth.TLS, error) {
	secret, err := r.Secret(ctx, field, ref)
	if err != nil || secret == nil {
		return auth.TLS{}, err
	}
	return r.Files(secret)
}

// Files are the TLS files of a Secret, which has to have some.
func (r Reader) Files(secret *corev1.Secret) (auth.TLS, error) {
	files, err := r.files(secret)
	if err == nil && files.IsZero() {
		err = fmt.Errorf("invalid '%s' secret data: it needs '%s', or '%s' and '%s', or all three", NameOf(secret), auth.KeyCA, auth.KeyCert, auth.KeyKey)
	}
	return files, err
}

// files reads the TLS files of a Secret, which may be nil or have none.
func (r Reader) files(secret *corev1.Secret) (auth.TLS, error) {
	if secret == nil {
		return auth.TLS{}, nil
	}
	files, legacy, err := auth.ReadTLS(NameOf(secret), secret.Data)
	if legacy {
		r.noteLegacy(secret)
	}
	return files, err
}

func (r Reader) noteLegacy(secret *corev1.Secret) {
	r.Log.Info("the Secret uses the keys caFile, certFile or keyFile; rename them to ca.crt, tls.crt, tls.key", "secret", NameOf(secret))
}

// Proxy reads the address of a proxy, nil for none.
func (r Reader) Proxy(ctx context.Context, field string, ref *meta.LocalObjectReference) (*url.URL, error) {
	secret, err := r.Secret(ctx, field, ref)
	if err != nil || secret == nil {
		return nil, err
	}
	return auth.ReadProxy(NameOf(secret), secret.Data)
}

// NameOf a Secret, with its namespace.
func NameOf(s *corev1.Secret) string { return s.Namespace + "/" + s.Name }

// ProxyName says where the proxy is set: in the Secret that ref names, or for the whole controller.
func ProxyName(namespace string, ref *meta.LocalObjectReference) string {
	if ref == nil {
		return "the proxy in the controller's environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY)"
	}
	return fmt.Sprintf("the proxy in the Secret '%s/%s'", namespace, ref.Name)
}
