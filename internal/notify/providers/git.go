package providers

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/gitops-toolkit/flux/internal/notify/event"
)

// repository is where a Git host has one: https://host/path.
type repository struct {
	scheme, host string
	// path without slash around it and without .git.
	path string
}

var scpLike = regexp.MustCompile(`^(?:[\w.-]+@)?([\w.-]+):([^/].*)$`)

// gitAddress reads the address of a repository, as a web page, for cloning over HTTP(S) or over SSH;
// the latter stands for the same host over https.
func gitAddress(c *Config) (repository, error) {
	address := strings.TrimSpace(c.Address)
	if address == "" {
		return repository{}, errors.New("address is missing: set spec.address to the URL of the repository")
	}
	if m := scpLike.FindStringSubmatch(address); m != nil && !strings.Contains(address, "://") {
		address = "ssh://" + m[1] + "/" + m[2]
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return repository{}, errors.New("address is not the URL of a Git repository")
	}
	r := repository{scheme: u.Scheme, host: u.Host, path: strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git")}
	switch u.Scheme {
	case "https", "http":
	case "ssh":
		r.scheme, r.host = "https", u.Hostname()
	default:
		return repository{}, fmt.Errorf("address has the scheme %q: use https or ssh", u.Scheme)
	}
	if r.path == "" {
		return repository{}, errors.New("address names no repository")
	}
	return r, nil
}

// ownerAndName splits a path of exactly two parts.
func (r repository) ownerAndName() (owner, name string, err error) {
	parts := strings.Split(r.path, "/")
	if len(parts) != 2 {
		return "", "", fmt.Errorf("address has the path %q, expected <owner>/<repository>", r.path)
	}
	return parts[0], parts[1], nil
}

func (r repository) base() string { return r.scheme + "://" + r.host }

// secret is the token of a Git host, which may also stand under password.
func (c *Config) secret() (string, error) {
	token := cmp.Or(c.Token, c.Password)
	if token == "" {
		return "", fmt.Errorf("%s needs a token: set the key 'token' in the Secret of secretRef", c.Provider.Spec.Type)
	}
	return token, nil
}

// Revisions are <name>@sha1:<hash>, sha1:<hash>, or of old <name>/<hash>.
var (
	hashRevision   = regexp.MustCompile(`(?:^|@)(?:sha1:)?([0-9a-f]{40})$`)
	legacyRevision = regexp.MustCompile(`/([0-9a-f]{40})$`)
)

// commitOf returns the commit that an event is about.
func commitOf(e *event.Event) (string, error) {
	revision := cmp.Or(e.Metadata[event.KeyCommit], e.Metadata[event.KeyOriginRevision], e.Metadata[event.KeyRevision])
	if revision == "" {
		return "", refused("missing revision metadata")
	}
	for _, re := range []*regexp.Regexp{hashRevision, legacyRevision} {
		if m := re.FindStringSubmatch(revision); m != nil {
			return m[1], nil
		}
	}
	return "", refused("failed to extract commit hash from '%s' revision", revision)
}
