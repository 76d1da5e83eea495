package gitrepo

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gitops-toolkit/flux/internal/gitrepo/transport"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// oldProtocol hides the wish for version 2, so that the server speaks version 0.
func oldProtocol(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Git-Protocol")
		h.ServeHTTP(w, r)
	})
}

func TestProtocolVersion0(t *testing.T) {
	t.Parallel()
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort, Wrap: oldProtocol})
	remote := Remote{URL: srv.HTTPURL("fleet")}
	monorepo(t, repo, 300)
	must(t, repo.Tag("v1.0.0", "main", "One"))
	past, err := repo.Resolve("main")
	must(t, err)
	rev, files := get(t, store, remote, Reference{Branch: "main"})
	check(t, repo, rev, files, "main")
	commit(t, repo, git.Change{Message: "Next", Files: map[string]string{"n": "n"}})
	srv.ResetRequests()
	rev, files = get(t, store, remote, Reference{Branch: "main"})
	check(t, repo, rev, files, "main")
	if n := git.Sent(srv.Requests()); n > 8<<10 {
		t.Errorf("one line moved %d bytes", n)
	}
	rev, files = get(t, store, remote, Reference{SemVer: "1.x"})
	check(t, repo, rev, files, "v1.0.0")
	rev, files = get(t, newStore(t, t.TempDir()), remote, Reference{Commit: past, Branch: "main"})
	check(t, repo, rev, files, past)
	if branch, err := RemoteHead(patient(t), remote); err != nil || branch != "main" {
		t.Errorf("head: %q, %v", branch, err)
	}
	if _, err := store.Resolve(patient(t), remote, Reference{Branch: "none"}); !errors.Is(err, ErrReference) {
		t.Errorf("a branch that is not there: %v", err)
	}
	_, err = srv.Create("empty", "main")
	must(t, err)
	if _, err := store.Resolve(patient(t), Remote{URL: srv.HTTPURL("empty")}, Reference{Branch: "main"}); !errors.Is(err, ErrEmpty) {
		t.Errorf("an empty repository: %v", err)
	}
	fsck(t, store)
}

// TestCommitFromServerThatCannotFilter takes all of the history, because the server neither leaves out
// files nor serves a commit that no ref points at.
func TestCommitFromServerThatCannotFilter(t *testing.T) {
	t.Parallel()
	srv, repo, store := setup(t, git.Options{HTTP: git.AnyPort, Wrap: oldProtocol})
	for _, name := range []string{"uploadpack.allowAnySHA1InWant", "uploadpack.allowFilter"} {
		_, err := repo.Git(nil, "config", name, "false")
		must(t, err)
	}
	remote := Remote{URL: srv.HTTPURL("fleet")}
	past, err := repo.Resolve("main")
	must(t, err)
	get(t, store, remote, Reference{Branch: "main"})
	commit(t, repo, git.Change{Message: "Two", Files: map[string]string{"two": "2"}})
	commit(t, repo, git.Change{Message: "Three", Files: map[string]string{"three": "3"}})
	two, err := repo.Resolve("main~1")
	must(t, err)
	for _, want := range []string{two, past} {
		rev, files := get(t, store, remote, Reference{Commit: want, Branch: "main"})
		check(t, repo, rev, files, want)
	}
	commit(t, repo, git.Change{Message: "Four", Files: map[string]string{"four": "4"}})
	rev, files := get(t, store, remote, Reference{Branch: "main"})
	check(t, repo, rev, files, "main")
	_, _, err = tryGet(patient(t), store, remote, Reference{Commit: strings.Repeat("12", 20), Branch: "main"})
	if !errors.Is(err, ErrReference) {
		t.Fatalf("a commit that is not there: %v", err)
	}
	fsck(t, store)
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	key, public, err := git.NewSSHKey("rsa", "")
	must(t, err)
	locked, lockedPublic, err := git.NewSSHKey("ed25519", "open sesame")
	must(t, err)
	stranger, _, err := git.NewSSHKey("ed25519", "")
	must(t, err)
	srv, _, store := setup(t, git.Options{
		HTTP: git.AnyPort, HTTPS: git.AnyPort, SSH: git.AnyPort, HostKeyType: "rsa",
		Users: map[string]string{"jo": "secret-pw"}, Tokens: []string{"secret-token"},
		AuthorizedKeys: append(public, lockedPublic...),
	})
	other, _, _ := setup(t, git.Options{HTTPS: git.AnyPort, SSH: git.AnyPort})
	mutual, _, _ := setup(t, git.Options{HTTPS: git.AnyPort, ClientCertificate: true})
	cert, certKey, err := mutual.NewClientCertificate("jo")
	must(t, err)
	http, https, ssh := srv.HTTPURL("fleet"), srv.HTTPSURL("fleet"), srv.SSHURL("fleet")
	otherHost := []byte(strings.Replace(string(srv.KnownHosts()), "127.0.0.1", "127.0.0.2", 1))
	changed := []byte(strings.Fields(string(srv.KnownHosts()))[0] + " " + strings.Join(strings.Fields(string(other.KnownHosts()))[1:], " "))
	for _, tc := range []struct {
		reason string
		remote Remote
		want   error
	}{
		{"basic auth", Remote{URL: http, Auth: Auth{Username: "jo", Password: "secret-pw"}}, nil},
		{"basic auth in the URL", Remote{URL: strings.Replace(http, "//", "//jo:secret-pw@", 1)}, nil},
		{"a wrong password", Remote{URL: http, Auth: Auth{Username: "jo", Password: "secret-no"}}, ErrAuthentication},
		{"a password with a line break", Remote{URL: http, Auth: Auth{Username: "jo", Password: "secret-pw\n"}}, errBlank},
		{"a token with a line break", Remote{URL: http, Auth: Auth{BearerToken: "secret-token\n"}}, ErrCredentials},
		{"no password", Remote{URL: http}, ErrAuthentication},
		{"a password without a name", Remote{URL: http, Auth: Auth{Password: "secret-pw"}}, ErrCredentials},
		{"a bearer token", Remote{URL: http, Auth: Auth{BearerToken: "secret-token"}}, nil},
		{"a wrong token", Remote{URL: http, Auth: Auth{BearerToken: "secret-no"}}, ErrAuthentication},
		{"a token beside a password", Remote{URL: strings.Replace(http, "//", "//jo:secret-pw@", 1), Auth: Auth{BearerToken: "secret-token"}}, ErrCredentials},
		{"a private authority", Remote{URL: https, Auth: Auth{CA: srv.CA(), BearerToken: "secret-token"}}, nil},
		{"an authority that nobody knows", Remote{URL: https, Auth: Auth{BearerToken: "secret-token"}}, errAny},
		{"the authority of another", Remote{URL: https, Auth: Auth{CA: other.CA(), BearerToken: "secret-token"}}, errAny},
		{"an authority that is none", Remote{URL: https, Auth: Auth{CA: []byte("secret-x")}}, ErrCredentials},
		{"a client certificate", Remote{URL: mutual.HTTPSURL("fleet"), Auth: Auth{CA: mutual.CA(), ClientCert: cert, ClientKey: certKey}}, nil},
		{"no client certificate", Remote{URL: mutual.HTTPSURL("fleet"), Auth: Auth{CA: mutual.CA()}}, errAny},
		{"a client certificate without its key", Remote{URL: https, Auth: Auth{CA: srv.CA(), ClientCert: cert}}, ErrCredentials},
		{"an SSH key", Remote{URL: ssh, Auth: Auth{Identity: key, KnownHosts: srv.KnownHosts()}}, nil},
		{"an SSH key from Windows", Remote{URL: ssh, Auth: Auth{Identity: windows(key), KnownHosts: windows(srv.KnownHosts())}}, nil},
		{"an SSH key with its passphrase", Remote{URL: ssh, Auth: Auth{Identity: locked, Passphrase: "open sesame", KnownHosts: srv.KnownHosts()}}, nil},
		{"an SSH key and a passphrase that it does not need", Remote{URL: ssh, Auth: Auth{Identity: key, Passphrase: "x", KnownHosts: srv.KnownHosts()}}, nil},
		{"an encrypted SSH key without its passphrase", Remote{URL: ssh, Auth: Auth{Identity: locked, KnownHosts: srv.KnownHosts()}}, ErrEncryptedKey},
		{"an encrypted SSH key with a wrong passphrase", Remote{URL: ssh, Auth: Auth{Identity: locked, Passphrase: "secret-no", KnownHosts: srv.KnownHosts()}}, ErrCredentials},
		{"an SSH key that is none", Remote{URL: ssh, Auth: Auth{Identity: []byte("secret-key"), KnownHosts: srv.KnownHosts()}}, ErrCredentials},
		{"an SSH key that the server does not know", Remote{URL: ssh, Auth: Auth{Identity: stranger, KnownHosts: srv.KnownHosts()}}, ErrAuthentication},
		{"no SSH key", Remote{URL: ssh, Auth: Auth{KnownHosts: srv.KnownHosts()}}, ErrCredentials},
		{"no known_hosts", Remote{URL: ssh, Auth: Auth{Identity: key}}, ErrCredentials},
		{"known_hosts that is none", Remote{URL: ssh, Auth: Auth{Identity: key, KnownHosts: []byte("secret-host")}}, ErrCredentials},
		{"a host that known_hosts lacks", Remote{URL: ssh, Auth: Auth{Identity: key, KnownHosts: otherHost}}, ErrHostKey},
		{"a host with another key", Remote{URL: ssh, Auth: Auth{Identity: key, KnownHosts: changed}}, errAny},
		{"a repository that is not there", Remote{URL: srv.HTTPURL("none"), Auth: Auth{BearerToken: "secret-token"}}, ErrRepositoryNotFound},
		{"a repository that is not there, over SSH", Remote{URL: srv.SSHURL("none"), Auth: Auth{Identity: key, KnownHosts: srv.KnownHosts()}}, ErrRepositoryNotFound},
		{"a scheme that Git has, but we do not", Remote{URL: "file:///etc"}, ErrURL},
		{"an scp address", Remote{URL: "git@example.com:org/repo"}, ErrURL},
		{"no host", Remote{URL: "https:///repo"}, ErrURL},
		{"a host that is an option", Remote{URL: "ssh://-oProxyCommand=x/repo"}, ErrURL},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			t.Parallel()
			_, files, err := tryGet(patient(t), store, tc.remote, Reference{Branch: "main"})
			switch {
			case tc.want == nil && (err != nil || len(files) != 5):
				t.Fatalf("%d files, %v", len(files), err)
			case tc.want == errBlank && err != nil && strings.Contains(err.Error(), "white space"):
			case tc.want == errAny && err == nil, tc.want != nil && tc.want != errAny && !errors.Is(err, tc.want):
				t.Fatalf("%v, want %v", err, tc.want)
			case err != nil && strings.Contains(err.Error(), "secret"):
				t.Fatalf("the error tells a secret: %v", err)
			}
		})
	}
}

var errAny, errBlank = errors.New("any error"), errors.New("an error about white space")

// windows is a text as editors there end its lines.
func windows(text []byte) []byte { return []byte(strings.ReplaceAll(string(text), "\n", "\r\n")) }

func TestRestrictedAlgorithms(t *testing.T) {
	t.Parallel()
	key, public, err := git.NewSSHKey("ed25519", "")
	must(t, err)
	srv, _, _ := setup(t, git.Options{SSH: git.AnyPort, AuthorizedKeys: public})
	remote := Remote{URL: srv.SSHURL("fleet"), Auth: Auth{Identity: key, KnownHosts: srv.KnownHosts()}}
	for _, tc := range []struct {
		reason     string
		algorithms Algorithms
		ok         bool
	}{
		{"what the server has", Algorithms{KeyExchanges: []string{"curve25519-sha256"}, HostKeys: []string{"ssh-ed25519"}}, true},
		{"a key exchange that it has not", Algorithms{KeyExchanges: []string{"diffie-hellman-group1-sha1"}}, false},
		{"a host key that it has not", Algorithms{HostKeys: []string{"ecdsa-sha2-nistp256"}}, false},
	} {
		store, err := NewStore(t.TempDir(), Options{Algorithms: tc.algorithms})
		must(t, err)
		if _, err := store.Resolve(patient(t), remote, Reference{Branch: "main"}); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.reason, err)
		}
	}
}

// TestHangingServer cancels while the server is silent: at the listing, and in the midst of a pack.
func TestHangingServer(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/info/refs", "/git-upload-pack"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			reached := make(chan struct{}, 10)
			srv, _, store := setup(t, git.Options{HTTP: git.AnyPort, Wrap: func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, path) {
						_, _ = io.Copy(io.Discard, r.Body)
						reached <- struct{}{}
						<-r.Context().Done()
						return
					}
					h.ServeHTTP(w, r)
				})
			}})
			ctx, cancel := context.WithCancelCause(patient(t))
			go func() { <-reached; cancel(errors.New("superseded")) }()
			_, _, err := tryGet(ctx, store, Remote{URL: srv.HTTPURL("fleet")}, Reference{Branch: "main"})
			if err == nil || !strings.HasSuffix(err.Error(), "superseded") {
				t.Fatalf("%v, want the cause of the cancellation", err)
			}
		})
	}
}

// TestSilentPort connects to a server that accepts and says nothing, over each transport.
func TestSilentPort(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	accepted := make(chan net.Conn, 10)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	key, _, err := git.NewSSHKey("ed25519", "")
	must(t, err)
	host := ln.Addr().String()
	for _, scheme := range []string{"http", "https", "ssh"} {
		ctx, cancel := context.WithCancel(patient(t))
		go func() { c := <-accepted; cancel(); _ = c }()
		remote := Remote{URL: scheme + "://" + host + "/fleet", Auth: Auth{Identity: key, KnownHosts: []byte("x ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKcr9WnBHsZLzBJyRTjlm2TDxyd+r3SDOMpFVsu4xMaU\n")}}
		if _, err := RemoteHead(ctx, remote); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v, want context.Canceled", scheme, err)
		}
	}
}

func TestTimeoutSaysSo(t *testing.T) {
	t.Parallel()
	srv, _, store := setup(t, git.Options{HTTP: git.AnyPort})
	ctx, cancel := context.WithTimeout(context.Background(), 0)
	defer cancel()
	_, err := store.Resolve(ctx, Remote{URL: srv.HTTPURL("fleet")}, Reference{Branch: "main"})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer within the time allowed") {
		t.Fatal(err)
	}
}

// TestRedirects sends clients from one server to another, and watches for credentials.
func TestRedirects(t *testing.T) {
	t.Parallel()
	users := map[string]string{"jo": "secret-pw"}
	target, _, _ := setup(t, git.Options{HTTP: git.AnyPort, HTTPS: git.AnyPort})
	moved := func(to func(r *http.Request) string) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/old.git") {
					http.Redirect(w, r, to(r), http.StatusMovedPermanently)
					return
				}
				h.ServeHTTP(w, r)
			})
		}
	}
	path := func(r *http.Request) string {
		return strings.Replace(r.URL.Path, "/old.git", "/fleet.git", 1) + "?" + r.URL.RawQuery
	}
	away, _, _ := setup(t, git.Options{HTTP: git.AnyPort, HTTPS: git.AnyPort, Wrap: moved(func(r *http.Request) string {
		return strings.TrimSuffix(target.HTTPURL("fleet"), "/fleet.git") + path(r)
	})})
	within, _, store := setup(t, git.Options{HTTP: git.AnyPort, Users: users, Wrap: moved(path)})
	circle, _, _ := setup(t, git.Options{HTTP: git.AnyPort, Wrap: moved(func(r *http.Request) string { return r.URL.String() })})
	auth := Auth{Username: "jo", Password: "secret-pw"}
	for _, tc := range []struct {
		reason string
		remote Remote
		want   error
	}{
		{"on the same host, credentials go along", Remote{URL: within.HTTPURL("old"), Auth: auth}, nil},
		{"to another host, without credentials", Remote{URL: away.HTTPURL("old")}, nil},
		{"to another host, with a password", Remote{URL: away.HTTPURL("old"), Auth: auth}, ErrRedirect},
		{"to another host, with a token", Remote{URL: away.HTTPURL("old"), Auth: Auth{BearerToken: "secret-token"}}, ErrRedirect},
		{"from https to http", Remote{URL: away.HTTPSURL("old"), Auth: Auth{CA: away.CA()}}, ErrRedirect},
		{"in a circle", Remote{URL: circle.HTTPURL("old")}, ErrRedirect},
	} {
		_, _, err := tryGet(patient(t), store, tc.remote, Reference{Branch: "main"})
		if !errors.Is(err, tc.want) || tc.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", tc.reason, err, tc.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error tells a secret: %v", tc.reason, err)
		}
	}
	for _, r := range target.Requests() {
		if r.Authorization {
			t.Error("the other host saw credentials")
		}
	}
}

func TestHTTPProxy(t *testing.T) {
	t.Parallel()
	srv, _, store := setup(t, git.Options{HTTP: git.AnyPort, HTTPS: git.AnyPort})
	var used atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte("jo:secret-pw")) {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		used.Add(1)
		if r.Method == http.MethodConnect {
			tunnel(w, r.Host)
			return
		}
		(&httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}}).ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	u, err := url.Parse(proxy.URL)
	must(t, err)
	u.User = url.UserPassword("jo", "secret-pw")
	for _, remote := range []Remote{
		{URL: srv.HTTPURL("fleet"), Proxy: u},
		{URL: srv.HTTPSURL("fleet"), Proxy: u, Auth: Auth{CA: srv.CA()}},
	} {
		used.Store(0)
		if _, files := get(t, store, remote, Reference{Branch: "main"}); len(files) != 5 || used.Load() == 0 {
			t.Errorf("%s: %d files, proxy used %d times", remote.URL, len(files), used.Load())
		}
	}
	wrong := *u
	wrong.User = url.UserPassword("jo", "secret-no")
	for _, remote := range []Remote{
		{URL: srv.HTTPURL("fleet"), Proxy: &wrong},
		{URL: srv.HTTPSURL("fleet"), Proxy: &wrong, Auth: Auth{CA: srv.CA()}},
	} {
		_, _, err = tryGet(patient(t), store, remote, Reference{Branch: "main"})
		if !errors.Is(err, ErrProxy) || !strings.HasSuffix(err.Error(), ": it answers 407 Proxy Authentication Required") || strings.Contains(err.Error(), "secret") {
			t.Errorf("a proxy that refuses the way to %s: %v", remote.URL, err)
		}
		if host, _ := url.Parse(remote.URL); host.Scheme == "https" && !strings.Contains(err.Error(), " to "+host.Host+": ") {
			t.Errorf("the host is not named: %v", err)
		}
	}
}

func tunnel(w http.ResponseWriter, host string) {
	up, err := net.Dial("tcp", host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	down, said, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = up.Close()
		return
	}
	// Only now may the client speak: what it says is read by nobody else, and what was read already is in said.
	_, _ = io.WriteString(down, "HTTP/1.1 200 Connection established\r\n\r\n")
	go func() { _, _ = io.Copy(up, said); _ = up.Close() }()
	_, _ = io.Copy(down, up)
	_ = down.Close()
}

func TestSocksProxy(t *testing.T) {
	t.Parallel()
	key, public, err := git.NewSSHKey("ed25519", "")
	must(t, err)
	srv, _, store := setup(t, git.Options{SSH: git.AnyPort, HTTP: git.AnyPort, AuthorizedKeys: public})
	addr, used := socks5(t)
	for _, remote := range []Remote{
		{URL: srv.HTTPURL("fleet")},
		{URL: srv.SSHURL("fleet"), Auth: Auth{Identity: key, KnownHosts: srv.KnownHosts()}},
	} {
		remote.Proxy = &url.URL{Scheme: "socks5", Host: addr}
		before := used.Load()
		if _, files := get(t, store, remote, Reference{Branch: "main"}); len(files) != 5 || used.Load() == before {
			t.Errorf("%s: %d files, proxy used %d times", remote.URL, len(files), used.Load()-before)
		}
	}
	remote := Remote{URL: srv.SSHURL("fleet"), Auth: Auth{Identity: key, KnownHosts: srv.KnownHosts()}, Proxy: &url.URL{Scheme: "http", Host: addr}}
	if _, err := store.Resolve(patient(t), remote, Reference{}); !errors.Is(err, ErrProxy) {
		t.Errorf("an HTTP proxy for SSH: %v", err)
	}
}

// socks5 is a proxy that knows CONNECT to an IPv4 address, and no more.
func socks5(t *testing.T) (addr string, used *atomic.Int32) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	used = &atomic.Int32{}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				var head [2]byte
				_, _ = io.ReadFull(c, head[:])
				_, _ = io.CopyN(io.Discard, c, int64(head[1]))
				_, _ = c.Write([]byte{5, 0})
				var req [10]byte
				_, _ = io.ReadFull(c, req[:])
				up, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: req[4:8], Port: int(req[8])<<8 | int(req[9])})
				if err != nil {
					return
				}
				used.Add(1)
				_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
				go func() { _, _ = io.Copy(up, c); _ = up.Close() }()
				_, _ = io.Copy(c, up)
			}()
		}
	}()
	return ln.Addr().String(), used
}

// TestNotGit meets a server that speaks HTTP but not Git.
func TestNotGit(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"a web page": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>Log in</html>") },
		"an error":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"nonsense": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			_, _ = io.WriteString(w, "hello, world")
		},
		"silence": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		},
	} {
		srv := httptest.NewUnstartedServer(answer)
		srv.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		srv.Start()
		t.Cleanup(srv.Close)
		if _, err := RemoteHead(patient(t), Remote{URL: srv.URL}); err == nil {
			t.Errorf("%s was taken for a repository", name)
		}
	}
}

func TestUnreachableHostIsNamed(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := ln.Addr().String()
	must(t, ln.Close())
	_, err = RemoteHead(patient(t), Remote{URL: "http://jo:secret@" + addr + "/fleet"})
	want := fmt.Sprintf("unable to clone 'http://%s/fleet': dial tcp %s: connect: connection refused", addr, addr)
	if err == nil || err.Error() != want {
		t.Fatalf("%v, want %s", err, want)
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"https://jo:pw@example.com/r": "https://example.com/r",
		"https://token@example.com/r": "https://example.com/r",
		"ssh://git@example.com/r":     "ssh://git@example.com/r",
		"https://example.com/r.git":   "https://example.com/r.git",
		"https://example.com/%zz":     "(invalid URL)",
	} {
		if got := transport.Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}
