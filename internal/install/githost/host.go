// Package githost speaks to the APIs of Git hosts, as far as bootstrap needs them: find or create a
// repository, give teams access, register deploy keys and tokens.
//
// Each host is one file. All share one small HTTP client, which limits time and size, follows no
// redirect to another host, and never puts the token into an error. The requests are those of the
// hosts' published API documents: GitHub REST 2022-11-28, GitLab v4, Gitea v1, Bitbucket Data Center
// REST 1.0.
package githost

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Options say where a host is and who asks.
type Options struct {
	// Hostname may have a port.
	Hostname string
	// SSHHostname, if set, is where the host serves Git over SSH.
	SSHHostname string
	// Username is for those hosts whose Git wants one beside the token.
	Username string
	Token    string
	// CA holds certificates, PEM encoded, that are trusted besides the system's.
	CA []byte
}

// Visibility is who may see a repository.
type Visibility string

// Visibilities; only GitLab knows Internal.
const (
	Private  Visibility = "private"
	Internal Visibility = "internal"
	Public   Visibility = "public"
)

// Wanted is a repository as it should be.
type Wanted struct {
	Owner, Name string
	// Branch becomes the default branch of a new repository.
	Branch     string
	Visibility Visibility
	// Personal says that the owner is a person and not an organisation.
	Personal bool
	// Reconcile changes the visibility of a repository that exists.
	Reconcile bool
}

// Repository is one that exists.
type Repository struct {
	// URL is its page, HTTPS and SSH its addresses for Git.
	URL, HTTPS, SSH string

	path string // of the API
}

// Change is what Ensure did.
type Change int

// Changes.
const (
	Unchanged Change = iota
	Created
	Updated
)

// Host is a Git host.
type Host interface {
	// Ensure finds the repository, or creates it.
	Ensure(ctx context.Context, w Wanted) (Repository, Change, error)
	// Grant gives a team or group access.
	Grant(ctx context.Context, r Repository, team, permission string) error
	// DeployKey registers a public key. One of the same title is replaced; an equal one is kept.
	DeployKey(ctx context.Context, r Repository, key DeployKey) (changed bool, err error)
}

// DeployKey is a key that may read one repository.
type DeployKey struct {
	Title  string
	Public string
	// Write lets it push, too.
	Write bool
}

// TokenMaker is a Host that makes tokens for one repository.
type TokenMaker interface {
	// DeployToken makes a token that may read; one of the same name is replaced.
	DeployToken(ctx context.Context, r Repository, name string) (user, token string, err error)
}

// errOwner says that the token is somebody else's.
func errOwner(owner string) error {
	return fmt.Errorf("the specified owner '%s' doesn't match the identity associated with the given token: give the owner of the token, or leave out --personal for an organisation", owner)
}

// sameKey compares public keys without their comments.
func sameKey(a, b string) bool {
	fa, fb := strings.Fields(a), strings.Fields(b)
	return len(fa) >= 2 && len(fb) >= 2 && fa[0] == fb[0] && fa[1] == fb[1]
}

// permission finds what the host calls a permission.
func permission[T any](known map[string]T, name string) (T, error) {
	level, ok := known[name]
	if !ok {
		return level, fmt.Errorf("unknown permission %q: use pull, triage, push, maintain or admin", name)
	}
	return level, nil
}

// isMissing tells whether the host has no such thing, or hides it.
func isMissing(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == 404
}

// sshHost is where Git is served over SSH.
func (o Options) sshHost() string {
	if o.SSHHostname != "" {
		return o.SSHHostname
	}
	host, _, _ := strings.Cut(o.Hostname, ":")
	return host
}
