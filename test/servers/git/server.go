// Package git serves bare Git repositories from a directory, over HTTP, HTTPS and SSH, on loopback.
//
// It is the Git host of the test suite, of the benchmarks and of the sandbox. The protocol itself is
// spoken by the git binary (upload-pack and receive-pack), so a client meets the real thing: protocol
// versions 0 to 2, shallow and thin packs, push, and the repository's own configuration. This package
// adds what surrounds it: listeners, credentials, webhooks after a push, and a record of every request
// with the bytes that it moved.
//
//	srv, err := git.Start(git.Options{Root: dir, HTTP: git.AnyPort})
//	defer srv.Close()
//	repo, err := srv.Create("fleet", "main")
//	hash, err := repo.Commit(map[string]string{"a.yaml": "a: 1\n"}, "Add a")
//	url := srv.HTTPURL("fleet")
package git

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// AnyPort is a listen address on loopback with a port that the system chooses.
const AnyPort = "127.0.0.1:0"

// Options says what to serve and to whom. The zero value of each field is the open, plain choice.
type Options struct {
	// Root is the directory of the bare repositories, `<name>.git` each. It is created if missing.
	Root string
	// HTTP, HTTPS and SSH are listen addresses on loopback; an empty one is not served.
	HTTP, HTTPS, SSH string
	// KeysDir keeps the certificate authority and the SSH host key, so that they outlive a restart.
	// Empty: they are made anew at each start.
	KeysDir string

	// Users maps user names to passwords for HTTP basic authentication. With neither Users nor Tokens
	// everybody may read and push.
	Users map[string]string
	// Tokens are accepted as HTTP bearer tokens.
	Tokens []string
	// AnonymousRead lets clients without credentials fetch; pushing still needs them.
	AnonymousRead bool
	// ClientCertificate makes HTTPS clients present a certificate of the server's own authority.
	ClientCertificate bool
	// AuthorizedKeys, in the format of the file of that name, are the keys that may log in over SSH.
	// Empty: any key, or none, may.
	AuthorizedKeys []byte
	// AuthorizeKey, if set, is asked instead about each key that wants to log in.
	AuthorizeKey func(key ssh.PublicKey) bool
	// HostKeyType is "ed25519" (default), "rsa" or "ecdsa".
	HostKeyType string

	// Wrap, if set, is put around the HTTP handler: to hang, to redirect, to fail, to look.
	Wrap func(http.Handler) http.Handler
	// OnPush, if set, is called after each push that changed refs, before the webhooks of the repository.
	OnPush func(Push)
}

// Server serves repositories until Close.
type Server struct {
	opts    Options
	keys    *keys
	record  recorder
	ctx     context.Context
	stop    context.CancelFunc
	wg      sync.WaitGroup
	http    *http.Server
	https   *http.Server
	httpLn  net.Listener
	httpsLn net.Listener
	sshLn   net.Listener
}

// Start begins to serve. An address that is not on loopback is refused.
func Start(opts Options) (*Server, error) {
	if opts.Root == "" {
		return nil, errors.New("git server: Root is not set")
	}
	if err := os.MkdirAll(opts.Root, 0o755); err != nil {
		return nil, fmt.Errorf("git server: %w", err)
	}
	k, err := loadKeys(opts.KeysDir, opts.HostKeyType)
	if err != nil {
		return nil, fmt.Errorf("git server: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{opts: opts, keys: k, ctx: ctx, stop: stop}
	for _, start := range []func() error{s.startHTTP, s.startHTTPS, s.startSSH} {
		if err := start(); err != nil {
			_ = s.Close()
			return nil, fmt.Errorf("git server: %w", err)
		}
	}
	return s, nil
}

// Close ends the listeners, the connections and the git processes, and waits for them.
func (s *Server) Close() error {
	s.stop()
	for _, srv := range []*http.Server{s.http, s.https} {
		if srv != nil {
			_ = srv.Close()
		}
	}
	if s.sshLn != nil {
		_ = s.sshLn.Close()
	}
	s.wg.Wait()
	return nil
}

func (s *Server) startHTTP() (err error) {
	if s.opts.HTTP == "" {
		return nil
	}
	if s.httpLn, err = listen(s.opts.HTTP); err != nil {
		return err
	}
	s.http = s.serve(s.httpLn, "http")
	return nil
}

func (s *Server) startHTTPS() (err error) {
	if s.opts.HTTPS == "" {
		return nil
	}
	if s.httpsLn, err = listen(s.opts.HTTPS); err != nil {
		return err
	}
	s.https = s.serve(s.httpsLn, "https")
	return nil
}

func (s *Server) serve(ln net.Listener, scheme string) *http.Server {
	srv := &http.Server{
		Handler:           s.handler(scheme),
		ReadHeaderTimeout: 30 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return s.ctx },
		ErrorLog:          quiet,
	}
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		if scheme == "http" {
			_ = srv.Serve(ln)
			return
		}
		srv.TLSConfig = s.keys.tlsConfig(s.opts.ClientCertificate)
		_ = srv.ServeTLS(ln, "", "")
	}()
	return srv
}

// HTTPURL is the address of a repository over HTTP; the repository need not exist.
func (s *Server) HTTPURL(repo string) string { return address("http://", s.httpLn, repo) }

// HTTPSURL is the address of a repository over HTTPS.
func (s *Server) HTTPSURL(repo string) string { return address("https://", s.httpsLn, repo) }

// SSHURL is the address of a repository over SSH, with the user name git.
func (s *Server) SSHURL(repo string) string { return address("ssh://git@", s.sshLn, repo) }

// CA is the certificate authority of the HTTPS server, PEM encoded.
func (s *Server) CA() []byte { return s.keys.caPEM }

// KnownHosts is the line of a known_hosts file for the SSH server.
func (s *Server) KnownHosts() []byte { return s.keys.knownHosts(s.sshLn) }

// NewClientCertificate mints a certificate and key, PEM encoded, that the HTTPS server accepts.
func (s *Server) NewClientCertificate(name string) (cert, key []byte, err error) {
	return s.keys.clientCertificate(name)
}

// Create makes an empty repository with the given default branch ("" means main).
func (s *Server) Create(name, branch string) (*Repo, error) {
	return Create(s.opts.Root, name, branch)
}

// Repo opens an existing repository.
func (s *Server) Repo(name string) (*Repo, error) { return Open(s.opts.Root, name) }

func address(scheme string, ln net.Listener, repo string) string {
	if ln == nil {
		return ""
	}
	return scheme + ln.Addr().String() + "/" + strings.TrimSuffix(strings.TrimPrefix(repo, "/"), ".git") + ".git"
}

func listen(addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen address %q: %w", addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("listen address %q is not on loopback", addr)
	}
	return net.Listen("tcp", addr)
}
