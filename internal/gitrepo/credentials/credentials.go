// Package credentials reads what a Secret says about the way to a Git server.
package credentials

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/gitops-toolkit/flux/internal/gitrepo/transport"
)

// Keys of the Secrets.
const (
	Username    = "username"
	Password    = "password"
	BearerToken = "bearerToken"
	Identity    = "identity"
	KnownHosts  = "known_hosts"

	keyCA, keyCert, keyKey                   = "ca.crt", "tls.crt", "tls.key"
	keyLegacyCA, keyLegacyCert, keyLegacyKey = "caFile", "certFile", "keyFile"
)

// Read reads credentials for the URL's transport from the data of a Secret, nil for none; then there are those in the URL,
// if any. The name of the Secret is for errors.
func Read(rawURL, secret string, data map[string][]byte) (transport.Auth, error) {
	if strings.HasPrefix(rawURL, "ssh://") {
		return ssh(secret, data)
	}
	a := transport.Auth{
		Username:   string(data[Username]),
		Password:   string(data[Password]),
		CA:         either(data[keyCA], data[keyLegacyCA]),
		ClientCert: either(data[keyCert], data[keyLegacyCert]),
		ClientKey:  either(data[keyKey], data[keyLegacyKey]),
	}
	if token, ok := data[BearerToken]; ok {
		a.BearerToken, a.Username, a.Password = string(token), "", ""
	}
	if a.Password != "" && a.Username == "" {
		return a, fmt.Errorf("invalid '%s' secret data: '%s' without '%s'", secret, Password, Username)
	}
	if (len(a.ClientCert) > 0) != (len(a.ClientKey) > 0) {
		return a, fmt.Errorf("invalid '%s' secret data: '%s' and '%s' must be given together", secret, keyCert, keyKey)
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

func ssh(secret string, data map[string][]byte) (transport.Auth, error) {
	if data == nil {
		return transport.Auth{}, fmt.Errorf("authentication over SSH needs spec.secretRef: a Secret with the keys '%s' and '%s'", Identity, KnownHosts)
	}
	a := transport.Auth{Identity: data[Identity], KnownHosts: data[KnownHosts], Passphrase: string(data[Password])}
	if len(bytes.TrimSpace(a.Identity)) == 0 || len(bytes.TrimSpace(a.KnownHosts)) == 0 {
		return a, fmt.Errorf("invalid '%s' secret data: required fields '%s' and '%s'", secret, Identity, KnownHosts)
	}
	return a, nil
}

// Legacy tells whether a Secret uses the keys of old for TLS files.
func Legacy(data map[string][]byte) bool {
	for _, key := range []string{keyLegacyCA, keyLegacyCert, keyLegacyKey} {
		if _, ok := data[key]; ok {
			return true
		}
	}
	return false
}
