package repo

import (
	"fmt"

	"github.com/gitops-toolkit/flux/internal/auth"
	"github.com/gitops-toolkit/flux/internal/auth/dockerconfig"
)

// Secret is what the Secret of a Helm repository says.
type Secret struct {
	// Login holds the username and the password; the zero value is nobody.
	Login auth.Login
	// TLS files; deprecated in this Secret.
	TLS auth.TLS
}

const keyUsername, keyPassword = "username", "password"

// ReadSecret reads the Secret of a repository over HTTP: username and password, both or none, and TLS files.
func ReadSecret(secret string, data map[string][]byte) (s Secret, err error) {
	if s.Login, err = basic(secret, data); err != nil {
		return Secret{}, err
	}
	s.TLS, _, err = auth.ReadTLS(secret, data)
	return s, err
}

func basic(secret string, data map[string][]byte) (auth.Login, error) {
	l := auth.Login{Username: string(data[keyUsername]), Password: string(data[keyPassword])}
	if (l.Username == "") != (l.Password == "") {
		return auth.Login{}, fmt.Errorf("invalid '%s' secret data: required fields '%s' and '%s'", secret, keyUsername, keyPassword)
	}
	return l, nil
}

// ReadRegistrySecret reads the Secret of a registry of charts: a Docker configuration with an entry for the host, or
// username and password, and TLS files.
func ReadRegistrySecret(secret string, data map[string][]byte, host, repository string) (s Secret, err error) {
	if len(data[dockerconfig.Key]) > 0 {
		config, err := dockerconfig.ReadSecret(secret, data)
		if err != nil {
			return Secret{}, err
		}
		s.Login = config.Login(host, repository)
		if s.Login.Anonymous() {
			return Secret{}, fmt.Errorf("no auth config for '%s' in the docker-registry Secret '%s'", host, secret)
		}
	} else if s.Login, err = basic(secret, data); err != nil {
		return Secret{}, err
	}
	s.TLS, _, err = auth.ReadTLS(secret, data)
	return s, err
}
