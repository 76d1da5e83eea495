// Package dockerconfig finds logins in Docker configurations, the content of image pull secrets.
//
// An entry's key is a host with an optional port and path, with or without scheme: ghcr.io, https://index.docker.io/v1/,
// *.azurecr.io, registry.example.com:5000/team. An asterisk stands for part of one label of the host. The path of an
// entry must be a whole-element prefix of the repository, except that /v1 and /v2 name the registry itself. Of several
// entries that match, the one with the longest path wins, then the one without asterisks, then the first by name.
// Credential helpers and stores that a configuration names are never run.
package dockerconfig

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/gitops-toolkit/flux/internal/auth"
)

// Key of a Secret of the type kubernetes.io/dockerconfigjson.
const Key = ".dockerconfigjson"

const (
	// legacyKey is that of the type kubernetes.io/dockercfg, whose content is the inner map alone.
	legacyKey = ".dockercfg"
	maxBytes  = 1 << 20
)

// Config holds the logins of one or more Docker configurations. The zero value holds none.
type Config struct {
	entries []entry
}

type entry struct {
	host, path string
	login      auth.Login
}

// record is one value of the map auths.
type record struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

// ReadSecret reads the configuration of a pull secret.
func ReadSecret(secret string, data map[string][]byte) (Config, error) {
	var file struct {
		Auths map[string]record `json:"auths"`
	}
	var err error
	switch {
	case len(data[Key]) > maxBytes || len(data[legacyKey]) > maxBytes:
		err = errors.New("it is larger than a mebibyte")
	case len(data[Key]) > 0:
		err = unmarshal(data[Key], &file)
	case len(data[legacyKey]) > 0:
		err = unmarshal(data[legacyKey], &file.Auths)
	default:
		err = fmt.Errorf("key '%s' is missing; make it with `flux create secret oci` or `kubectl create secret docker-registry`", Key)
	}
	if err != nil {
		return Config{}, fmt.Errorf("invalid pull secret '%s': %w", secret, err)
	}
	var c Config
	for key, r := range file.Auths {
		login, err := r.login()
		if err != nil {
			return Config{}, fmt.Errorf("invalid pull secret '%s': entry '%s': %w", secret, key, err)
		}
		c.entries = append(c.entries, entryOf(key, login))
	}
	slices.SortFunc(c.entries, compare)
	return c, nil
}

// unmarshal hides the parser's error, which may repeat what it has read.
func unmarshal(data []byte, into any) error {
	if json.Unmarshal(data, into) != nil {
		return errors.New("it is not a Docker configuration in JSON")
	}
	return nil
}

func (r record) login() (auth.Login, error) {
	l := auth.Login{Username: r.Username, Password: r.Password, IdentityToken: r.IdentityToken, RegistryToken: r.RegistryToken}
	if r.Auth == "" {
		return l, nil
	}
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(r.Auth))
	if err != nil {
		text, err = base64.RawStdEncoding.DecodeString(strings.TrimSpace(r.Auth))
	}
	user, password, ok := strings.Cut(string(text), ":")
	if err != nil || !ok {
		return auth.Login{}, errors.New("'auth' is not base64 of <username>:<password>")
	}
	l.Username, l.Password = user, strings.TrimRight(password, "\x00")
	return l, nil
}

func entryOf(key string, login auth.Login) entry {
	if _, rest, ok := strings.Cut(key, "://"); ok {
		key = rest
	}
	host, dir, _ := strings.Cut(key, "/")
	dir = strings.Trim(path.Clean("/"+dir), "/")
	if dir == "v1" || dir == "v2" {
		dir = ""
	}
	return entry{host: canonical(host), path: dir, login: login}
}

// canonical maps the names of Docker Hub to one.
func canonical(host string) string {
	host = strings.ToLower(host)
	switch host {
	case "docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return "index.docker.io"
	}
	return host
}

// compare puts the more particular entry first.
func compare(a, b entry) int {
	if d := len(b.path) - len(a.path); d != 0 {
		return d
	}
	if d := strings.Count(a.host, "*") - strings.Count(b.host, "*"); d != 0 {
		return d
	}
	return strings.Compare(a.host+"/"+a.path, b.host+"/"+b.path)
}

// Login returns the login for a repository of a registry, the zero value if there is none.
func (c Config) Login(host, repository string) auth.Login {
	host = canonical(host)
	for _, e := range c.entries {
		if e.matches(host, repository) {
			return e.login
		}
	}
	return auth.Login{}
}

// With returns a configuration that looks into other when c has no match.
func (c Config) With(other Config) Config {
	return Config{entries: append(slices.Clone(c.entries), other.entries...)}
}

// Len is the number of entries.
func (c Config) Len() int { return len(c.entries) }

func (e entry) matches(host, repository string) bool {
	if e.path != "" && repository != e.path && !strings.HasPrefix(repository, e.path+"/") {
		return false
	}
	if e.host == host {
		return true
	}
	if !strings.Contains(e.host, "*") {
		return false
	}
	wantHost, wantPort, _ := strings.Cut(e.host, ":")
	haveHost, havePort, _ := strings.Cut(host, ":")
	want, have := strings.Split(wantHost, "."), strings.Split(haveHost, ".")
	if wantPort != havePort || len(want) != len(have) {
		return false
	}
	for i := range want {
		if ok, err := path.Match(want[i], have[i]); err != nil || !ok {
			return false
		}
	}
	return true
}
