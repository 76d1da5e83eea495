package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
)

// storage is one bucket, at whatever provider.
type storage interface {
	// list calls visit for each object below prefix.
	list(ctx context.Context, prefix string, visit func(object) error) error
	// open returns the content of an object and the etag that it has, errGone if it is not there any more.
	open(ctx context.Context, o object) (body io.ReadCloser, etag string, err error)
}

// Errors of all storages.
var (
	errNoBucket = errors.New("bucket not found")
	errGone     = errors.New("object not found")
)

// settings are what a storage is opened with.
type settings struct {
	obj    *sourcev1.Bucket
	secret *corev1.Secret // of spec.secretRef, or nil
	id     cloud.Identity
	client *http.Client
	clouds *cloud.Clouds
	// sts is what spec.sts adds.
	sts stsSettings
}

type stsSettings struct {
	username, password string
	client             *http.Client
}

// known is a storage that was opened with Secrets of these versions; it is kept so that a look at the bucket needs no
// look at the API server.
type known struct {
	versions string
	storage  storage
	until    time.Time // zero if its credentials do not age
}

// secretRefs names the Secrets of the spec.
func secretRefs(obj *sourcev1.Bucket) (names []string) {
	refs := []*meta.LocalObjectReference{obj.Spec.SecretRef, obj.Spec.CertSecretRef, obj.Spec.ProxySecretRef}
	if sts := obj.Spec.STS; sts != nil {
		refs = append(refs, sts.SecretRef, sts.CertSecretRef)
	}
	for _, ref := range refs {
		if ref != nil {
			names = append(names, ref.Name)
		}
	}
	return names
}

// versions names the spec and the Secrets that a storage is opened with; ok is false if the kernel cannot tell.
func (c *controller) versions(obj *sourcev1.Bucket) (text string, ok bool) {
	text = fmt.Sprint(obj.Generation)
	for _, ref := range c.References(obj) {
		v, known := c.cluster.Version(obj.Namespace, ref)
		if !known {
			return "", false
		}
		text += "/" + v
	}
	return text, true
}

// storage opens the bucket, or takes what was opened the last time if nothing has changed.
func (c *controller) storage(ctx context.Context, req *request) (storage, *failure) {
	versions, ok := c.versions(req.Object)
	if k, found := req.Memory().(*known); ok && found && k.versions == versions && (k.until.IsZero() || time.Now().Before(k.until)) {
		return k.storage, nil
	}
	s, f := c.settings(ctx, req)
	if f != nil {
		return nil, f
	}
	open := map[string]func(context.Context, settings) (storage, time.Time, error){
		sourcev1.GenericProvider: openS3, cloud.AWS: openS3, cloud.Azure: openAzure, cloud.GCP: openGCP,
	}[provider(req.Object)]
	ctx, cancel := context.WithTimeout(ctx, req.Object.GetTimeout())
	defer cancel()
	st, until, err := open(ctx, s)
	if err != nil {
		return nil, fetchFailed(sourcev1.AuthenticationFailedReason, clean(err))
	}
	if ok {
		req.Remember(&known{versions: versions, storage: st, until: until})
	}
	return st, nil
}

// settings reads everything that the spec names.
func (c *controller) settings(ctx context.Context, req *request) (s settings, f *failure) {
	obj := req.Object
	s = settings{obj: obj, clouds: c.Clouds}
	if s.secret, f = c.secret(ctx, obj, "spec.secretRef", obj.Spec.SecretRef); f != nil {
		return s, f
	}
	proxy, f := c.proxy(ctx, obj)
	if f != nil {
		return s, f
	}
	if s.client, f = c.client(ctx, req, "spec.certSecretRef", obj.Spec.CertSecretRef, proxy); f != nil {
		return s, f
	}
	s.id.Proxy = proxy
	if s.secret == nil && provider(obj) != sourcev1.GenericProvider {
		sa, err := c.cluster.CloudAccount(ctx, obj.Namespace, obj.Spec.ServiceAccountName, c.fallback)
		if err != nil {
			return s, fetchFailed(sourcev1.AuthenticationFailedReason, err)
		}
		s.id.Account = cloud.AccountOf(sa)
	}
	if sts := obj.Spec.STS; sts != nil && sts.Provider == stsLDAP {
		s.sts, f = c.ldap(ctx, req, sts, proxy)
	}
	return s, f
}

func (c *controller) ldap(ctx context.Context, req *request, sts *sourcev1.BucketSTSSpec, proxy *url.URL) (s stsSettings, f *failure) {
	secret, f := c.secret(ctx, req.Object, "spec.sts.secretRef", sts.SecretRef)
	if f != nil {
		return s, f
	}
	if secret != nil {
		s.username, s.password = string(secret.Data["username"]), string(secret.Data["password"])
		if s.username == "" || s.password == "" {
			return s, fetchFailed(sourcev1.AuthenticationFailedReason,
				fmt.Errorf("invalid '%s' secret data for LDAP STS: required fields 'username' and 'password'", secret.Name))
		}
	}
	s.client, f = c.client(ctx, req, "spec.sts.certSecretRef", sts.CertSecretRef, proxy)
	return s, f
}

func (c *controller) proxy(ctx context.Context, obj *sourcev1.Bucket) (*url.URL, *failure) {
	secret, f := c.secret(ctx, obj, "spec.proxySecretRef", obj.Spec.ProxySecretRef)
	if f != nil || secret == nil {
		return nil, f
	}
	proxy, err := auth.ReadProxy(nameOf(secret), secret.Data)
	if err != nil {
		return nil, fetchFailed(sourcev1.AuthenticationFailedReason, err)
	}
	return proxy, nil
}

// client speaks TLS with the files of a Secret, and leads through the proxy.
func (c *controller) client(ctx context.Context, req *request, field string, ref *meta.LocalObjectReference, proxy *url.URL) (*http.Client, *failure) {
	client := &http.Client{CheckRedirect: sameHost}
	var files auth.TLS
	secret, f := c.secret(ctx, req.Object, field, ref)
	if f != nil {
		return nil, f
	}
	if secret != nil {
		var legacy bool
		var err error
		if files, legacy, err = auth.ReadTLS(nameOf(secret), secret.Data); err != nil {
			return nil, fetchFailed(sourcev1.AuthenticationFailedReason, err)
		}
		if files.IsZero() {
			return nil, fetchFailed(sourcev1.AuthenticationFailedReason, fmt.Errorf(
				"invalid '%s' secret data: it needs '%s', or '%s' and '%s', or all three", nameOf(secret), auth.KeyCA, auth.KeyCert, auth.KeyKey))
		}
		if legacy {
			req.Log.Info("the Secret uses the keys caFile, certFile or keyFile; rename them to ca.crt, tls.crt, tls.key", "secret", nameOf(secret))
		}
	}
	config, err := files.Config()
	if err != nil {
		return nil, fetchFailed(sourcev1.AuthenticationFailedReason, fmt.Errorf("%s: %w", field, err))
	}
	if c.Transport != nil {
		client.Transport = c.Transport
		return client, nil
	}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true, DisableCompression: true,
		DialContext:         (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: 30 * time.Second, ResponseHeaderTimeout: time.Minute, MaxResponseHeaderBytes: 256 << 10,
		MaxIdleConnsPerHost: downloads, IdleConnTimeout: 15 * time.Second,
	}
	if proxy != nil {
		t.Proxy = http.ProxyURL(proxy)
	}
	client.Transport = t
	return client, nil
}

// sameHost follows redirects to the same host only: credentials are for it alone.
func sameHost(req *http.Request, via []*http.Request) error {
	if len(via) > 5 || req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme {
		return http.ErrUseLastResponse
	}
	return nil
}

// secret reads the Secret that a field names, if any.
func (c *controller) secret(ctx context.Context, obj *sourcev1.Bucket, field string, ref *meta.LocalObjectReference) (*corev1.Secret, *failure) {
	if ref == nil {
		return nil, nil
	}
	key := types.NamespacedName{Namespace: obj.Namespace, Name: ref.Name}
	secret, err := c.cluster.GetSecret(ctx, key)
	if err == nil {
		return secret, nil
	}
	err = fmt.Errorf("failed to get secret '%s': %w", key, err)
	if apierrors.IsNotFound(err) {
		err = fmt.Errorf("%w; create it, or correct %s", err, field)
	}
	return nil, fetchFailed(sourcev1.AuthenticationFailedReason, err)
}

func nameOf(s *corev1.Secret) string { return s.Namespace + "/" + s.Name }
