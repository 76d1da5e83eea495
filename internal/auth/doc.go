// Package auth reads what Secrets say about identities and connections, as plain values: logins, TLS files, proxies.
//
// It asks no API server: callers hand in the data of a Secret with the name to use in errors, and get a value that
// libraries such as registry take. Errors name the Secret and the key, never what is in it. Docker configurations, in
// which logins depend on the host, are in the package dockerconfig; kubeconfigs in the package kubeconfig.
package auth

// Login is what proves an identity to a registry. The zero value is nobody.
type Login struct {
	Username, Password string
	// IdentityToken is exchanged for access tokens (OAuth2 refresh token).
	IdentityToken string
	// RegistryToken is sent as it is (bearer token).
	RegistryToken string
}

// Anonymous tells whether there is nothing to prove an identity with.
func (l Login) Anonymous() bool { return l == Login{} }

// Secrets lists the parts that must not be shown.
func (l Login) Secrets() []string {
	var out []string
	for _, s := range []string{l.Password, l.IdentityToken, l.RegistryToken} {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}
