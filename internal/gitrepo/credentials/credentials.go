// Package credentials reads what a Secret says about the way to a Git server.
package credentials

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/gitrepo/transport"
)

// Keys of the Secrets.
const (
	Username    = "username"
	Password    = "password"
	BearerToken = "bearerToken"
	Identity    = "identity"
	KnownHosts  = "known_hosts"
)

// Read reads credentials for the URL's transport from the data of a Secret, nil for none; then there are those in the URL,
// if any. The name of the Secret is for errors. legacy says that TLS files have keys of old.
func Read(rawURL, secret string, data map[string][]byte) (a transport.Auth, legacy bool, err error) {
	if strings.HasPrefix(rawURL, "ssh://") {
		a, err = ssh(secret, data)
		return a, false, err
	}
	files, legacy, err := auth.ReadTLS(secret, data)
	if err != nil {
		return a, legacy, err
	}
	a = transport.Auth{
		Username: string(data[Username]), Password: string(data[Password]),
		CA: files.CA, ClientCert: files.Cert, ClientKey: files.Key,
	}
	if token, ok := data[BearerToken]; ok {
		a.BearerToken, a.Username, a.Password = string(token), "", ""
	}
	if a.Password != "" && a.Username == "" {
		return a, legacy, fmt.Errorf("invalid '%s' secret data: '%s' without '%s'", secret, Password, Username)
	}
	return a, legacy, nil
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
