// Package stock runs the servers that Git and OpenSSH come with, git-http-backend and sshd, for tests of what they say.
package stock

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
)

// HTTPBackend serves the bare repositories below a directory, to one user with a password; which services each takes
// is for its own configuration to say (http.receivepack). Look, if set, sees each request that was let in.
func HTTPBackend(t testing.TB, root, name, password string, look func(*http.Request)) (url string) {
	t.Helper()
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Skipf("git is not installed: %v", err)
	}
	program := filepath.Join(strings.TrimSpace(string(path)), "git-http-backend")
	if _, err := os.Stat(program); err != nil {
		t.Skipf("git-http-backend is not installed: %v", err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, p, _ := r.BasicAuth()
		if u != name || p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "authentication required", http.StatusUnauthorized)
			return
		}
		if look != nil {
			look(r)
		}
		env := []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=" + u, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"}
		if protocol := r.Header.Get("Git-Protocol"); protocol == "version=2" {
			env = append(env, "GIT_PROTOCOL="+protocol)
		}
		(&cgi.Handler{Path: program, Env: env, Stderr: io.Discard}).ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// SSHD is OpenSSH's server, for the user who runs the test.
type SSHD struct {
	// KnownHosts are its lines in a known_hosts file, one for each host key; Authority is that of the authority that has
	// certified them.
	KnownHosts, Authority []byte

	user, addr string
}

// StartSSHD lets the keys of a file authorized_keys log in, with what the file says of each. The host has keys of these
// types, ed25519 if there are none.
func StartSSHD(t testing.TB, authorizedKeys []byte, hostKeys ...string) *SSHD {
	t.Helper()
	program := "/usr/sbin/sshd" // It wants to be called by its whole path.
	if _, err := os.Stat(program); err != nil {
		t.Skipf("sshd is not installed: %v", err)
	}
	me, err := user.Current()
	must(t, err)
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	if me.Uid == "0" { // Where a process without rights looks at what comes in.
		must(t, os.MkdirAll("/run/sshd", 0o755))
	}
	must(t, os.WriteFile(file("keys"), authorizedKeys, 0o600))
	if len(hostKeys) == 0 {
		hostKeys = []string{"ed25519"}
	}
	config := fmt.Sprintf("AuthorizedKeysFile %s\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\n", file("keys"))
	keygen(t, "-t", "ed25519", "-N", "", "-f", file("authority"))
	for _, kind := range hostKeys {
		keygen(t, "-t", kind, "-N", "", "-f", file(kind))
		keygen(t, "-s", file("authority"), "-I", "host", "-h", "-n", "127.0.0.1", file(kind+".pub"))
		config += fmt.Sprintf("HostKey %s\nHostCertificate %s-cert.pub\n", file(kind), file(kind))
	}
	must(t, os.WriteFile(file("config"), []byte(config), 0o600))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(program, file("config"), conn.(*net.TCPConn))
		}
	}()
	s := &SSHD{user: me.Username, addr: ln.Addr().String()}
	s.Authority = append([]byte("@cert-authority "), s.line(t, file("authority.pub"))...)
	for _, kind := range hostKeys {
		s.KnownHosts = append(s.KnownHosts, s.line(t, file(kind+".pub"))...)
	}
	return s
}

// line is the line in known_hosts of a public key.
func (s *SSHD) line(t testing.TB, file string) []byte {
	t.Helper()
	public, err := os.ReadFile(file)
	must(t, err)
	host, port, _ := net.SplitHostPort(s.addr)
	return fmt.Appendf(nil, "[%s]:%s %s\n", host, port, bytes.TrimSpace(public))
}

func keygen(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command("ssh-keygen", append([]string{"-q"}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
}

// serve lets sshd have one connection, as inetd does.
func serve(program, config string, conn *net.TCPConn) {
	defer conn.Close()
	f, err := conn.File()
	if err != nil {
		return
	}
	defer f.Close()
	cmd := exec.Command(program, "-i", "-f", config)
	cmd.Stdin, cmd.Stdout = f, f
	_ = cmd.Run() // What it does not serve, the client sees.
}

// URL is the address of a repository on this machine.
func (s *SSHD) URL(dir string) string { return "ssh://" + s.user + "@" + s.addr + dir }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
