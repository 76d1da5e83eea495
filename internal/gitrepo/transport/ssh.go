package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/net/proxy"
)

// sshDialer opens an SSH connection for each conversation.
type sshDialer struct {
	addr   string
	path   string // quoted
	config *ssh.ClientConfig
	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
}

func newSSH(u *url.URL, r Remote, a Algorithms) (*sshDialer, error) {
	port := u.Port()
	if port == "" {
		port = "22"
	}
	d := &sshDialer{addr: net.JoinHostPort(u.Hostname(), port), path: quotePath(u.Path)}
	login, err := sshLogin(r.Auth)
	if err != nil {
		return nil, err
	}
	check, algorithms, err := hostKeys(r.Auth.KnownHosts, d.addr)
	if err != nil {
		return nil, err
	}
	if len(a.HostKeys) > 0 {
		algorithms = a.HostKeys
	}
	user := u.User.Username()
	if user == "" {
		user = "git"
	}
	d.config = &ssh.ClientConfig{
		Config:            ssh.Config{KeyExchanges: a.KeyExchanges},
		User:              user,
		Auth:              []ssh.AuthMethod{login},
		HostKeyCallback:   check,
		HostKeyAlgorithms: algorithms,
		ClientVersion:     "SSH-2.0-gitops-toolkit-flux",
	}
	d.dial, err = sshProxy(r.Proxy)
	return d, err
}

// CheckAlgorithms refuses names that the handshake does not know.
func CheckAlgorithms(a Algorithms) error {
	safe, rest := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
	for _, list := range []struct{ given, known []string }{
		{a.KeyExchanges, slices.Concat(safe.KeyExchanges, rest.KeyExchanges)},
		{a.HostKeys, slices.Concat(safe.HostKeys, rest.HostKeys)},
	} {
		for _, name := range list.given {
			if !slices.Contains(list.known, name) {
				return fmt.Errorf("%q is no algorithm that is known here: choose among %s", name, strings.Join(list.known, ", "))
			}
		}
	}
	return nil
}

func sshProxy(u *url.URL) (func(ctx context.Context, network, addr string) (net.Conn, error), error) {
	if u == nil {
		return proxy.Dial, nil
	}
	if u.Scheme != "socks5" && u.Scheme != "socks5h" {
		return nil, fmt.Errorf("%w: Git over SSH needs one of the scheme socks5, not %s", ErrProxy, u.Scheme)
	}
	p, err := proxy.FromURL(u, &net.Dialer{})
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	return p.(proxy.ContextDialer).DialContext, nil
}

// quotePath quotes a path as the shell of the server wants it. A path that begins with ~ is relative to
// a home directory, and comes without the slash of the URL.
func quotePath(path string) string {
	if strings.HasPrefix(path, "/~") {
		path = path[1:]
	}
	return "'" + strings.NewReplacer(`'`, `'\''`, `!`, `'\!'`).Replace(path) + "'"
}

// sshLogin proves who we are with the identity, or with those that an agent holds.
func sshLogin(a Auth) (ssh.AuthMethod, error) {
	if len(a.Identity) == 0 && a.Agent != "" {
		return ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
			conn, err := net.Dial("unix", a.Agent)
			if err != nil {
				return nil, fmt.Errorf("SSH agent: %w", err)
			}
			// The signers use the connection for as long as the login takes; it ends with the process.
			return agent.NewClient(conn).Signers()
		}), nil
	}
	signer, err := parseIdentity(a)
	if err != nil {
		return nil, err
	}
	return ssh.PublicKeys(signer), nil
}

func parseIdentity(a Auth) (ssh.Signer, error) {
	if len(a.Identity) == 0 {
		return nil, fmt.Errorf("%w: Git over SSH needs an identity, a private key", ErrCredentials)
	}
	if a.Passphrase != "" {
		signer, err := ssh.ParsePrivateKeyWithPassphrase(a.Identity, []byte(a.Passphrase))
		if err == nil {
			return signer, nil
		}
		// A passphrase beside a key that needs none is no mistake worth failing for.
		if plain, plainErr := ssh.ParsePrivateKey(a.Identity); plainErr == nil {
			return plain, nil
		}
		return nil, fmt.Errorf("%w: SSH identity: %w", ErrCredentials, err)
	}
	signer, err := ssh.ParsePrivateKey(a.Identity)
	var missing *ssh.PassphraseMissingError
	if errors.As(err, &missing) {
		return nil, ErrEncryptedKey
	}
	if err != nil {
		return nil, fmt.Errorf("%w: SSH identity: %w", ErrCredentials, err)
	}
	return signer, nil
}

// hostKeys returns the check of the host's key, and the algorithms of the keys that we know for it, so
// that the server shows one of those.
func hostKeys(known []byte, addr string) (ssh.HostKeyCallback, []string, error) {
	if len(bytes.TrimSpace(known)) == 0 {
		return nil, nil, fmt.Errorf("%w: Git over SSH needs known_hosts", ErrCredentials)
	}
	file, err := os.CreateTemp("", "known_hosts_*") // The parser reads files only.
	if err != nil {
		return nil, nil, err
	}
	defer os.Remove(file.Name())
	_, err = file.Write(known)
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, nil, err
	}
	callback, err := knownhosts.New(file.Name())
	if err != nil {
		return nil, nil, fmt.Errorf("%w: known_hosts: %s", ErrCredentials, strings.ReplaceAll(err.Error(), file.Name(), "known_hosts"))
	}
	check := func(host string, remote net.Addr, key ssh.PublicKey) error {
		err := callback(host, remote, key)
		var mismatch *knownhosts.KeyError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &mismatch) && len(mismatch.Want) == 0:
			return fmt.Errorf("%w: known_hosts has no key of %s; it shows %s %s", ErrHostKey, host, key.Type(), ssh.FingerprintSHA256(key))
		case errors.As(err, &mismatch):
			return fmt.Errorf("%w: %s shows %s %s, which is not its key in known_hosts", ErrHostKey, host, key.Type(), ssh.FingerprintSHA256(key))
		}
		return fmt.Errorf("%w: %w", ErrHostKey, err)
	}
	return check, knownAlgorithms(callback, bytes.Split(known, []byte("\n")), addr), nil
}

// knownAlgorithms asks the check about a key that nobody has, and is told which keys were expected, on which lines.
// Without any it is nil; then the server's key is of no importance, because it will be refused.
func knownAlgorithms(callback ssh.HostKeyCallback, lines [][]byte, addr string) (algorithms []string) {
	var mismatch *knownhosts.KeyError
	if err := callback(addr, &net.TCPAddr{}, noKey{}); !errors.As(err, &mismatch) {
		return nil
	}
	for _, want := range mismatch.Want {
		names := []string{want.Key.Type()}
		switch {
		case want.Line <= len(lines) && bytes.HasPrefix(bytes.TrimSpace(lines[want.Line-1]), []byte("@cert-authority")):
			names = hostCertificates
		case want.Key.Type() == ssh.KeyAlgoRSA:
			names = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, n := range names {
			if !slices.Contains(algorithms, n) {
				algorithms = append(algorithms, n)
			}
		}
	}
	return algorithms
}

// hostCertificates are what an authority may have given to a host, whatever its own key is.
var hostCertificates = []string{
	ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
	ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
}

// noKey is a public key that equals no other.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return nil }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("not a key") }

func (d *sshDialer) Stateless() bool { return false }
func (d *sshDialer) Close()          {}

// Dial connects, checks the host key, logs in and starts git-upload-pack.
func (d *sshDialer) Dial(ctx context.Context) (Conn, error) { return d.open(ctx, uploadPack) }

// Push does the same with git-receive-pack.
func (d *sshDialer) Push(ctx context.Context) (Conn, error) { return d.open(ctx, receivePack) }

func (d *sshDialer) open(ctx context.Context, service string) (Conn, error) {
	tcp, err := d.dial(ctx, "tcp", d.addr)
	if err != nil {
		return nil, err
	}
	release := context.AfterFunc(ctx, func() { _ = tcp.Close() })
	c := &sshConn{tcp: tcp, release: release}
	if err := c.start(d, service); err != nil {
		_ = c.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if strings.Contains(err.Error(), "unable to authenticate") {
			return nil, fmt.Errorf("%w: the server refused the SSH key: %w", ErrAuthentication, err)
		}
		return nil, err
	}
	return c, nil
}

// sshConn is a conversation with a git-upload-pack that runs at the other end.
type sshConn struct {
	tcp     net.Conn
	release func() bool
	client  *ssh.Client
	session *ssh.Session
	stdin   io.WriteCloser
	stdout  io.Reader
	stderr  tail
}

func (c *sshConn) start(d *sshDialer, service string) error {
	conn, channels, requests, err := ssh.NewClientConn(c.tcp, d.addr, d.config)
	if err != nil {
		return err
	}
	c.client = ssh.NewClient(conn, channels, requests)
	session, err := c.client.NewSession()
	if err != nil {
		return err
	}
	// Servers may refuse the variable; they speak version 0 then.
	_ = session.Setenv("GIT_PROTOCOL", "version=2")
	c.session, session.Stderr = session, &c.stderr
	if c.stdin, err = session.StdinPipe(); err != nil {
		return err
	}
	if c.stdout, err = session.StdoutPipe(); err != nil {
		return err
	}
	return session.Start(service + " " + d.path)
}

func (c *sshConn) Advertise(ctx context.Context) (io.ReadCloser, error) { return c.answer(ctx), nil }

func (c *sshConn) Exchange(ctx context.Context, request []byte) (io.ReadCloser, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.tcp.Close() })
	defer stop()
	if _, err := c.stdin.Write(request); err != nil {
		return nil, cause(ctx, err)
	}
	return c.answer(ctx), nil
}

// answer reads what the server says. Closing it does not end the conversation.
func (c *sshConn) answer(ctx context.Context) io.ReadCloser {
	return &sshAnswer{c: c, ctx: ctx, stop: context.AfterFunc(ctx, func() { _ = c.tcp.Close() })}
}

type sshAnswer struct {
	c    *sshConn
	ctx  context.Context
	stop func() bool
}

func (a *sshAnswer) Read(p []byte) (int, error) {
	n, err := a.c.stdout.Read(p)
	if err == nil {
		return n, nil
	}
	if n > 0 || !errors.Is(err, io.EOF) {
		return n, cause(a.ctx, err)
	}
	_ = a.c.session.Wait() // The command has ended; what it said of the reason is on its way.
	if text := a.c.stderr.String(); text != "" {
		err = fmt.Errorf("the remote says: %s", text)
		lower := strings.ToLower(text)
		switch {
		case strings.Contains(lower, "not found"):
			err = fmt.Errorf("%w: %w", ErrRepositoryNotFound, err)
		case slices.ContainsFunc(refusals, func(word string) bool { return strings.Contains(lower, word) }):
			err = fmt.Errorf("%w: %w", ErrAuthorization, err)
		}
	}
	return n, cause(a.ctx, err)
}

// refusals are in what servers say to a key that they know, and that may not do this.
var refusals = []string{"denied", "not allowed", "unauthorized", "not authorized", "forbidden", "permission", "read only", "read-only", "write access"}

func (a *sshAnswer) Close() error { a.stop(); return nil }

// cause prefers the end of the context over the broken connection that it leads to.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (c *sshConn) Close() error {
	c.release()
	if c.client != nil {
		return c.client.Close()
	}
	return c.tcp.Close()
}

// tail keeps the beginning of what the server writes to its standard error.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const maxTail = 500

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p[:min(len(p), maxTail-len(t.buf))]...)
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(t.buf), "?")), " ")
}
