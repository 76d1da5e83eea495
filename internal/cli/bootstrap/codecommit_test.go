package bootstrap_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gitops-toolkit/flux/test/servers/git"
)

// signedPassword is one that an identity of AWS signs, see TestGit of internal/auth/cloud for what it signs.
var signedPassword = regexp.MustCompile(`^\d{8}T\d{6}Z[0-9a-f]{64}$`)

// codeCommit serves real repositories under the name of a host of CodeCommit, behind a proxy in $HTTPS_PROXY, to whoever signs
// a password: `codecommit HOST REPOSITORY`.
func codeCommit(ts *testscript.TestScript, _ bool, args []string) {
	server, err := git.Start(git.Options{Root: ts.MkAbs("codecommit"), HTTP: git.AnyPort})
	ts.Check(err)
	ts.Defer(func() { _ = server.Close() })
	_, err = server.Create(args[1], "main")
	ts.Check(err)
	target, err := url.Parse(strings.TrimSuffix(server.HTTPURL(""), "/.git"))
	ts.Check(err)
	forward := httputil.NewSingleHostReverseProxy(target)
	host := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if user != ts.Getenv("AWS_ACCESS_KEY_ID")+"%"+ts.Getenv("AWS_SESSION_TOKEN") || !signedPassword.MatchString(password) {
			w.Header().Set("WWW-Authenticate", "Basic")
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		r.Header.Del("Authorization")
		forward.ServeHTTP(w, r)
	}))
	certificate, ca := selfSigned(ts, args[0])
	host.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	host.StartTLS()
	ts.Defer(host.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != args[0]+":443" {
			http.Error(w, "nothing but "+args[0], http.StatusBadGateway)
			return
		}
		tunnel(w, host.Listener.Addr().String())
	}))
	ts.Defer(proxy.Close)
	ts.Check(os.WriteFile(ts.MkAbs("ca.crt"), ca, 0o600))
	ts.Setenv("CA", ts.MkAbs("ca.crt"))
	ts.Setenv("ROOT", ts.MkAbs("codecommit"))
	ts.Setenv("HTTPS_PROXY", proxy.URL)
}

// tunnel connects a client of a proxy with an address.
func tunnel(w http.ResponseWriter, address string) {
	to, err := net.Dial("tcp", address)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer to.Close()
	from, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer from.Close()
	_, _ = from.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n"))
	go func() {
		_, _ = io.Copy(to, buffered)
		_ = to.Close()
	}()
	_, _ = io.Copy(from, to)
}

// selfSigned makes a certificate for a host that is its own authority.
func selfSigned(ts *testscript.TestScript, host string) (tls.Certificate, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	ts.Check(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// holds fails unless a file of the branch main of a repository has a text: `holds REPOSITORY PATH TEXT`.
func holds(ts *testscript.TestScript, neg bool, args []string) {
	text, err := repository(ts, args[0]).Git(nil, "show", "main:"+args[1])
	ts.Check(err)
	if strings.Contains(text, args[2]) == neg {
		ts.Fatalf("%s of %s:\n%s", args[1], args[0], text)
	}
}
