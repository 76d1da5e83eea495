// Package gitrepo is Git as a library: find out what a reference means, bring that commit here, read it.
//
// A Store keeps mirrors on disk, one per address and credentials, shared by all who name the same. A
// mirror is a bare repository that git can read; it holds the commits that were asked for, each with its
// whole tree and without its history.
//
//	rev, err := store.Resolve(ctx, remote, Reference{Branch: "main"})  // one listing of refs, no objects
//	snap, err := store.Fetch(ctx, remote, rev)                         // nothing moves if the mirror has it
//	defer snap.Close()
//	entries, err := snap.Tree(snap.Root())
//
// What moves is what changed: the one request of a fetch wants the new tip, tells the tips that the
// mirror has (have, and shallow, for their history is not here), asks for depth 1 and takes a thin pack.
// A one-line commit, the merge of a branch that forked long ago and a force-push cost kilobytes alike.
//
// Mirrors are caches. One that is damaged, or that has grown to more than twice what a fresh one took,
// is built anew by the next fetch; one that is lost costs one clone. Nothing that a server sends is
// believed: sizes are limited, object names are computed, names of files are checked.
package gitrepo

import (
	"errors"

	"github.com/gitops-toolkit/flux/internal/gitrepo/pack"
	"github.com/gitops-toolkit/flux/internal/gitrepo/transport"
	"github.com/gitops-toolkit/flux/internal/gitrepo/wire"
)

// Hash is the SHA-1 name of an object.
type Hash = pack.Hash

// Remote is a repository at an address, and what it takes to get there.
type Remote = transport.Remote

// Auth proves who we are, and says how the server proves who it is.
type Auth = transport.Auth

// Algorithms restricts what SSH may negotiate.
type Algorithms = transport.Algorithms

// Errors of the way to the server; see package transport.
var (
	ErrURL                = transport.ErrURL
	ErrAuthentication     = transport.ErrAuthentication
	ErrAuthorization      = transport.ErrAuthorization
	ErrRepositoryNotFound = transport.ErrRepositoryNotFound
	ErrHostKey            = transport.ErrHostKey
	ErrEncryptedKey       = transport.ErrEncryptedKey
	ErrCredentials        = transport.ErrCredentials
	ErrRedirect           = transport.ErrRedirect
	ErrProxy              = transport.ErrProxy
	ErrBusy               = transport.ErrBusy
)

var (
	// ErrReference is wrapped when the reference does not exist at the remote, or is no commit.
	ErrReference = errors.New("reference not found")
	// ErrEmpty is returned for a repository without any commit.
	ErrEmpty = errors.New("git repository is empty")
	// ErrTree is wrapped when a tree has names that must not be written to a disk, or too many entries.
	ErrTree = errors.New("the tree is refused")
	// ErrDamaged is wrapped when the mirror cannot be read. The next fetch builds it anew.
	ErrDamaged = errors.New("the mirror is damaged")
	// ErrObjectFormat is wrapped for a repository whose objects have names of another kind than SHA-1.
	ErrObjectFormat = wire.ErrObjectFormat
)

// ParseURL checks an address without using it; errors wrap ErrURL.
func ParseURL(raw string) error {
	_, err := transport.Parse(raw)
	return err
}

// CheckAlgorithms refuses names of SSH algorithms for key exchange and host keys that nobody here knows.
func CheckAlgorithms(keyExchanges, hostKeys []string) error {
	return transport.CheckAlgorithms(transport.Algorithms{KeyExchanges: keyExchanges, HostKeys: hostKeys})
}

// RedactURL returns an address without user and password, for messages.
func RedactURL(raw string) string { return transport.Redact(raw) }
