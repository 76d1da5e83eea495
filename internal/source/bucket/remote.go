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

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/access"
	"github.com/gitops-toolkit/flux/internal/auth/cloud"
	"github.com/gitops-toolkit/flux/internal/retryafter"
	"github.com/gitops-toolkit/flux/internal/source/attempt"
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
func secretRefs(obj *sourcev1.Bucket) []string {
	names := access.Names(obj.Spec.SecretRef, obj.Spec.CertSecretRef, obj.Spec.ProxySecretRef)
	if sts := obj.Spec.STS; sts != nil {
		names = append(names, access.Names(sts.SecretRef, sts.CertSecretRef)...)
	}
	return names
}

// versions names the spec and the Secrets that a storage is opened with; ok is false if the kernel cannot tell.
func (c *controller) versions(obj *sourcev1.Bucket) (text string, ok bool) {
	return access.State(c.cluster, obj.Namespace, fmt.Sprint(obj.Generation), secretRefs(obj))
}

// storage opens the bucket, or takes what was opened the last time if nothing has changed.
func (c *controller) storage(ctx context.Context, req *request) (storage, *attempt.Failure) {
	versions, ok := c.versions(req.Object)
	if k, found := req.Memory().(*known); ok && found && k.versions == versions && (k.until.IsZero() || time.Now().Before(k.until)) {
		return k.storage, nil
	}
	s, err := c.settings(ctx, req)
	if err != nil {
		return nil, attempt.Fetch(sourcev1.AuthenticationFailedReason, err)
	}
	open := map[string]func(context.Context, settings) (storage, time.Time, error){
		sourcev1.GenericProvider: openS3, cloud.AWS: openS3, cloud.Azure: openAzure, cloud.GCP: openGCP,
	}[provider(req.Object)]
	ctx, cancel := context.WithTimeout(ctx, req.Object.GetTimeout())
	defer cancel()
	st, until, err := open(ctx, s)
	if err != nil {
		return nil, attempt.Fetch(sourcev1.AuthenticationFailedReason, clean(err))
	}
	if ok {
		req.Remember(&known{versions: versions, storage: st, until: until})
	}
	return st, nil
}

// settings reads everything that the spec names. All errors are about credentials.
func (c *controller) settings(ctx context.Context, req *request) (s settings, err error) {
	obj := req.Object
	read := access.Reader{Secrets: c.cluster, Namespace: obj.Namespace, Log: req.Log}
	s = settings{obj: obj, clouds: c.Clouds}
	if s.secret, err = read.Secret(ctx, "spec.secretRef", obj.Spec.SecretRef); err != nil {
		return s, err
	}
	if s.id.Proxy, err = read.Proxy(ctx, "spec.proxySecretRef", obj.Spec.ProxySecretRef); err != nil {
		return s, err
	}
	if s.client, err = c.client(ctx, read, "spec.certSecretRef", obj.Spec.CertSecretRef, s.id.Proxy); err != nil {
		return s, err
	}
	if s.secret == nil && provider(obj) != sourcev1.GenericProvider {
		sa, err := c.cluster.CloudAccount(ctx, obj.Namespace, obj.Spec.ServiceAccountName, c.fallback)
		if err != nil {
			return s, err
		}
		s.id.Account = cloud.AccountOf(sa)
	}
	if sts := obj.Spec.STS; sts != nil && sts.Provider == stsLDAP {
		s.sts, err = c.ldap(ctx, read, sts, s.id.Proxy)
	}
	return s, err
}

func (c *controller) ldap(ctx context.Context, read access.Reader, sts *sourcev1.BucketSTSSpec, proxy *url.URL) (s stsSettings, err error) {
	secret, err := read.Secret(ctx, "spec.sts.secretRef", sts.SecretRef)
	if err != nil {
		return s, err
	}
	if secret != nil {
		s.username, s.password = string(secret.Data["username"]), string(secret.Data["password"])
		if s.username == "" || s.password == "" {
			return s, fmt.Errorf("invalid '%s' secret data for LDAP STS: required fields 'username' and 'password'", secret.Name)
		}
	}
	s.client, err = c.client(ctx, read, "spec.sts.certSecretRef", sts.CertSecretRef, proxy)
	return s, err
}

// client speaks TLS with the files of a Secret, and leads through the proxy.
func (c *controller) client(ctx context.Context, read access.Reader, field string, ref *meta.LocalObjectReference, proxy *url.URL) (*http.Client, error) {
	client := &http.Client{CheckRedirect: sameHost}
	files, err := read.TLS(ctx, field, ref)
	if err != nil {
		return nil, err
	}
	config, err := files.Config()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	if c.Transport != nil {
		client.Transport = &retryafter.Transport{Next: c.Transport}
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
	client.Transport = &retryafter.Transport{Next: t}
	return client, nil
}

// sameHost follows redirects to the same host only: credentials are for it alone.
func sameHost(req *http.Request, via []*http.Request) error {
	if len(via) > 5 || req.URL.Host != via[0].URL.Host || req.URL.Scheme != via[0].URL.Scheme {
		return http.ErrUseLastResponse
	}
	return nil
}
