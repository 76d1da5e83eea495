// Package transport carries Git's protocol over HTTP, HTTPS and SSH.
//
// A Dialer belongs to one Remote: an address with its own credentials, certificate authorities, client
// certificate and proxy. Nothing is shared between remotes, so no credential can reach a host that it
// was not meant for: a redirect to another host, or from https to http, is refused while the remote has
// credentials. Host keys are checked strictly against the known_hosts of the remote. Everything ends at
// once when its context does.
package transport

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/gitops-toolkit/flux/internal/gitrepo/wire"
)

var (
	// ErrURL is wrapped by errors that mean that the address cannot be used, whatever the server does.
	ErrURL = errors.New("invalid URL")
	// ErrAuthentication is wrapped when the server refuses the credentials, or their absence.
	ErrAuthentication = errors.New("authentication required")
	// ErrAuthorization is wrapped when the server knows who we are and refuses.
	ErrAuthorization = errors.New("authorization failed")
	// ErrRepositoryNotFound is wrapped when the server has no such repository, or hides it.
	ErrRepositoryNotFound = errors.New("repository not found")
	// ErrHostKey is wrapped when the key of an SSH server is not the one in known_hosts.
	ErrHostKey = errors.New("host key verification failed")
	// ErrEncryptedKey is returned for an encrypted SSH key without a passphrase.
	ErrEncryptedKey = errors.New("SSH identity key is encrypted but no passphrase was provided")
	// ErrCredentials is wrapped when the credentials contradict each other or cannot be read.
	ErrCredentials = errors.New("invalid credentials")
	// ErrRedirect is wrapped when a redirect is not followed.
	ErrRedirect = errors.New("redirect refused")
	// ErrProxy is wrapped when the proxy on the way to the server does not let us through.
	ErrProxy = errors.New("the proxy does not let us through")
	// ErrBusy is wrapped when the server, or a proxy that speaks for it, says that it cannot serve us now.
	ErrBusy = errors.New("the server is not ready to serve")
)

// Remote is a repository at an address, and what it takes to get there.
type Remote struct {
	// URL has the scheme http, https or ssh. User and password in it are used if Auth has none.
	URL  string
	Auth Auth
	// Proxy has the scheme http, https or socks5, for SSH socks5 only. Nil: HTTP_PROXY and its kin, or
	// ALL_PROXY for SSH, decide.
	Proxy *url.URL
}

// Auth proves who we are, and says how the server proves who it is.
type Auth struct {
	// Username and Password are for HTTP basic authentication.
	Username, Password string
	// BearerToken is sent in the Authorization header, and excludes a password.
	BearerToken string
	// CA holds certificates, PEM encoded, that are trusted in addition to the system's.
	CA []byte
	// ClientCert and ClientKey, PEM encoded, are presented to an HTTPS server.
	ClientCert, ClientKey []byte
	// Identity is the SSH private key; Passphrase decrypts it.
	Identity   []byte
	Passphrase string
	// Agent is the socket of an SSH agent whose identities are used when there is no Identity. Only the
	// command line sets it.
	Agent string
	// KnownHosts is the content of a known_hosts file, required for SSH.
	KnownHosts []byte
	// Principal, if set, names whoever the credentials stand for, so that a token which is renewed
	// every hour leads to the same mirror.
	Principal string
}

// Algorithms restricts what SSH may negotiate. Empty lists mean the defaults of golang.org/x/crypto/ssh,
// and for host keys those types that known_hosts has.
type Algorithms struct {
	KeyExchanges, HostKeys []string
}

// Conn is a conversation. It must be closed.
type Conn interface {
	wire.Conn
	Close() error
}

// Dialer opens conversations with one remote. It is safe for concurrent use.
type Dialer interface {
	Dial(ctx context.Context) (Conn, error)
	// Push opens a conversation in which the other end receives.
	Push(ctx context.Context) (Conn, error)
	// Stateless tells whether what a conversation learned of the server holds for the next.
	Stateless() bool
	// Close ends idle connections.
	Close()
}

// New checks the remote and prepares a Dialer. Nothing is sent yet.
func New(r Remote, a Algorithms) (Dialer, error) {
	u, err := Parse(r.URL)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "ssh" {
		return newSSH(u, r, a)
	}
	return newHTTP(u, r)
}

// maxURL bounds the length of an address.
const maxURL = 4096

// Parse reads an address and checks that it is one of a repository over http, https or ssh.
func Parse(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, fmt.Errorf("%w: longer than %d characters", ErrURL, maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil {
		var detail *url.Error // Its text repeats the address, which may hold a password.
		if errors.As(err, &detail) {
			err = detail.Err
		}
		return nil, fmt.Errorf("%w: %w", ErrURL, err)
	}
	switch u.Scheme {
	case "http", "https", "ssh":
	default:
		return nil, fmt.Errorf("%w: scheme %q is none of http, https, ssh", ErrURL, u.Scheme)
	}
	if u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-") {
		return nil, fmt.Errorf("%w: no host", ErrURL)
	}
	if strings.ContainsAny(u.Path, "\x00\n\r") {
		return nil, fmt.Errorf("%w: control characters in the path", ErrURL)
	}
	return u, nil
}

// Redact returns the address without user and password, for messages.
func Redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(invalid URL)"
	}
	if u.User == nil {
		return raw
	}
	if _, secret := u.User.Password(); secret || u.Scheme != "ssh" {
		u.User = nil
	}
	return u.String()
}

// safelyThere tells whether credentials for one address of HTTP may be shown at another.
func safelyThere(from, to *url.URL) bool {
	web := from.Scheme == "https" || from.Scheme == "http"
	return web && (to.Scheme == from.Scheme || to.Scheme == "https") && sameHost(from, to)
}

// Elsewhere is the remote at another address that a repository names, such as that of a submodule. User name, password,
// token and client certificate go along only if it is the same host, reached no less safely. A private SSH key never
// leaves the process and goes along: known_hosts, which came with it, says which hosts may see its signature. So do
// authorities and proxy.
func (r Remote) Elsewhere(rawURL string) Remote {
	from, err := Parse(r.URL)
	if err == nil {
		var to *url.URL
		if to, err = Parse(rawURL); err == nil && safelyThere(from, to) {
			if a := r.Auth; a.Username != "" || a.Password != "" || a.BearerToken != "" {
				to.User = nil // They win over what the address says.
			} else if to.User == nil {
				to.User = from.User
			}
			return Remote{URL: to.String(), Auth: r.Auth, Proxy: r.Proxy}
		}
	}
	a := Auth{CA: r.Auth.CA, KnownHosts: r.Auth.KnownHosts, Identity: r.Auth.Identity, Passphrase: r.Auth.Passphrase}
	return Remote{URL: rawURL, Auth: a, Proxy: r.Proxy}
}
