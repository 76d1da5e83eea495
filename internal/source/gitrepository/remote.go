package gitrepository

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/auth/githubapp"
	"github.com/gitops-toolkit/flux/internal/gitrepo"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// configs reads Secrets and their versions; the kernel's Manager does.
type configs interface {
	GetSecret(ctx context.Context, key types.NamespacedName) (*corev1.Secret, error)
	Version(namespace string, ref kernel.Reference) (version string, ok bool)
}

// Keys of the Secrets.
const (
	keyUsername    = "username"
	keyPassword    = "password"
	keyBearerToken = "bearerToken"
	keyIdentity    = "identity"
	keyKnownHosts  = "known_hosts"
	keyAddress     = "address"

	keyCA, keyCert, keyKey                   = "ca.crt", "tls.crt", "tls.key"
	keyLegacyCA, keyLegacyCert, keyLegacyKey = "caFile", "certFile", "keyFile"
)

// maxProxyAddress is the longest address of a proxy.
const maxProxyAddress = 2048

// known is a remote that was built from Secrets of these versions; it is kept so that a look at the repository needs
// no look at the API server.
type known struct {
	versions string
	remote   gitrepo.Remote
	until    time.Time // zero if its credentials do not age
}

// versions names the spec and the Secrets that a remote is built from; ok is false if the kernel cannot tell.
func (c *controller) versions(obj *sourcev1.GitRepository) (text string, ok bool) {
	text = fmt.Sprint(obj.Generation)
	for _, ref := range c.References(obj) {
		if ref.Group != "" {
			continue
		}
		v, known := c.configs.Version(obj.Namespace, ref)
		if !known {
			return "", false
		}
		text += "/" + v
	}
	return text, true
}

// remote builds the remote, or takes the one of the last time if nothing that it is built from has changed.
func (c *controller) remote(ctx context.Context, req *request) (gitrepo.Remote, *failure) {
	versions, ok := c.versions(req.Object)
	if k, found := req.Memory().(*known); ok && found && k.versions == versions && (k.until.IsZero() || time.Now().Before(k.until)) {
		return k.remote, nil
	}
	r, until, f := c.readRemote(ctx, req)
	if f == nil && ok {
		req.Remember(&known{versions: versions, remote: r, until: until})
	}
	return r, f
}

func (c *controller) readRemote(ctx context.Context, req *request) (r gitrepo.Remote, until time.Time, f *failure) {
	obj := req.Object
	r = gitrepo.Remote{URL: obj.Spec.URL}
	if ref := obj.Spec.ProxySecretRef; ref != nil {
		secret, f := c.secret(ctx, obj, "spec.proxySecretRef", ref.Name)
		if f != nil {
			return r, until, f
		}
		proxy, err := proxyOf(secret)
		if err != nil {
			return r, until, fetchFailed(sourcev1.AuthenticationFailedReason, err)
		}
		r.Proxy = proxy
	}
	var secret *corev1.Secret
	if ref := obj.Spec.SecretRef; ref != nil {
		if secret, f = c.secret(ctx, obj, "spec.secretRef", ref.Name); f != nil {
			return r, until, f
		}
		app := githubapp.Described(secret.Data)
		switch github := obj.Spec.Provider == sourcev1.GitHubProvider; {
		case github && !app:
			return r, until, fetchFailed(sourcev1.InvalidProviderConfigurationReason, errNoApp)
		case github:
			r.Auth, until, f = c.appAuth(ctx, obj, secret, r.Proxy)
			return r, until, f
		case app:
			return r, until, fetchFailed(sourcev1.InvalidProviderConfigurationReason,
				fmt.Errorf("secretRef '%s' has github app data but provider is not set to github", named(secret)))
		}
	}
	if cloudProvider(obj) != "" {
		r.Auth, until, f = c.cloudAuth(ctx, obj, secret, r.Proxy)
		return r, until, f
	}
	auth, err := authOf(obj.Spec.URL, secret)
	if err != nil {
		return r, until, fetchFailed(sourcev1.AuthenticationFailedReason, err)
	}
	if secret != nil && legacyTLS(secret) {
		req.Log.Info("the Secret uses the keys caFile, certFile or keyFile; rename them to ca.crt, tls.crt, tls.key", "secret", named(secret))
	}
	r.Auth = auth
	return r, until, nil
}

// appAuth logs in as a GitHub App. The token is renewed in time; the Principal stays, and with it the mirror.
func (c *controller) appAuth(ctx context.Context, obj *sourcev1.GitRepository, secret *corev1.Secret, proxy *url.URL) (gitrepo.Auth, time.Time, *failure) {
	app, err := githubapp.Read(named(secret), secret.Data)
	if err != nil {
		return gitrepo.Auth{}, time.Time{}, fetchFailed(sourcev1.AuthenticationFailedReason, err)
	}
	app.Proxy = proxy
	ctx, cancel := context.WithTimeout(ctx, obj.GetTimeout())
	defer cancel()
	token, err := c.Tokens.Get(ctx, app)
	if err != nil {
		return gitrepo.Auth{}, time.Time{}, fetchFailed(sourcev1.AuthenticationFailedReason,
			fmt.Errorf("%w; check '%s*' in the Secret '%s', and that the App is installed there", err, "githubApp", named(secret)))
	}
	return gitrepo.Auth{
		Username: githubapp.Username, Password: token.Value, Principal: app.Principal(),
		CA: app.TLS.CA, ClientCert: app.TLS.Cert, ClientKey: app.TLS.Key,
	}, token.Until, nil
}

// secret reads the Secret that a field of the spec names.
func (c *controller) secret(ctx context.Context, obj *sourcev1.GitRepository, field, name string) (*corev1.Secret, *failure) {
	key := types.NamespacedName{Namespace: obj.Namespace, Name: name}
	secret, err := c.configs.GetSecret(ctx, key)
	if err == nil {
		return secret, nil
	}
	err = fmt.Errorf("failed to get secret '%s': %w", key, err)
	if apierrors.IsNotFound(err) {
		err = fmt.Errorf("%w; create it, or correct %s", err, field)
	}
	return nil, fetchFailed(sourcev1.AuthenticationFailedReason, err)
}

func named(s *corev1.Secret) string { return s.Namespace + "/" + s.Name }

// authOf reads credentials for the URL's transport. Without a Secret there are those in the URL, if any.
func authOf(rawURL string, secret *corev1.Secret) (gitrepo.Auth, error) {
	if strings.HasPrefix(rawURL, "ssh://") {
		return sshAuth(secret)
	}
	if secret == nil {
		return gitrepo.Auth{}, nil
	}
	data := secret.Data
	a := gitrepo.Auth{
		Username:   string(data[keyUsername]),
		Password:   string(data[keyPassword]),
		CA:         either(data[keyCA], data[keyLegacyCA]),
		ClientCert: either(data[keyCert], data[keyLegacyCert]),
		ClientKey:  either(data[keyKey], data[keyLegacyKey]),
	}
	if token, ok := data[keyBearerToken]; ok {
		a.BearerToken, a.Username, a.Password = string(token), "", ""
	}
	if a.Password != "" && a.Username == "" {
		return a, fmt.Errorf("invalid '%s' secret data: '%s' without '%s'", named(secret), keyPassword, keyUsername)
	}
	if (len(a.ClientCert) > 0) != (len(a.ClientKey) > 0) {
		return a, fmt.Errorf("invalid '%s' secret data: '%s' and '%s' must be given together", named(secret), keyCert, keyKey)
	}
	return a, nil
}

// either prefers the key of today to that of old.
func either(today, old []byte) []byte {
	if len(today) > 0 {
		return today
	}
	return old
}

func sshAuth(secret *corev1.Secret) (gitrepo.Auth, error) {
	if secret == nil {
		return gitrepo.Auth{}, fmt.Errorf("authentication over SSH needs spec.secretRef: a Secret with the keys '%s' and '%s'", keyIdentity, keyKnownHosts)
	}
	a := gitrepo.Auth{
		Identity:   secret.Data[keyIdentity],
		KnownHosts: secret.Data[keyKnownHosts],
		Passphrase: string(secret.Data[keyPassword]),
	}
	if len(bytes.TrimSpace(a.Identity)) == 0 || len(bytes.TrimSpace(a.KnownHosts)) == 0 {
		return a, fmt.Errorf("invalid '%s' secret data: required fields '%s' and '%s'", named(secret), keyIdentity, keyKnownHosts)
	}
	return a, nil
}

func legacyTLS(s *corev1.Secret) bool {
	for _, key := range []string{keyLegacyCA, keyLegacyCert, keyLegacyKey} {
		if _, ok := s.Data[key]; ok {
			return true
		}
	}
	return false
}

// proxyOf reads the Secret of spec.proxySecretRef.
func proxyOf(secret *corev1.Secret) (*url.URL, error) {
	address := string(secret.Data[keyAddress])
	if address == "" {
		return nil, fmt.Errorf("invalid proxy secret '%s': key '%s' is missing", named(secret), keyAddress)
	}
	if len(address) > maxProxyAddress {
		return nil, fmt.Errorf("invalid proxy secret '%s': key '%s' is longer than %d characters", named(secret), keyAddress, maxProxyAddress)
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("invalid proxy secret '%s': key '%s' is not a URL", named(secret), keyAddress)
	}
	switch u.Scheme {
	case "http", "https", "socks5":
	default:
		return nil, fmt.Errorf("invalid proxy secret '%s': scheme '%s' is none of http, https, socks5", named(secret), u.Scheme)
	}
	if user := string(secret.Data[keyUsername]); user != "" {
		u.User = url.UserPassword(user, string(secret.Data[keyPassword]))
	}
	return u, nil
}
