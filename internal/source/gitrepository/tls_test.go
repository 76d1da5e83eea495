package gitrepository_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/registry/registrytest"
	"github.com/gitops-toolkit/flux/test/servers/git"
)

// TestCertificates tells apart what may be wrong with a certificate, and what to do about it.
func TestCertificates(t *testing.T) {
	t.Parallel()
	l := newLab(t, git.Options{})
	l.start()
	authority, other := registrytest.NewAuthority(t), registrytest.NewAuthority(t)
	l.secret("ca", nil, map[string]string{"ca.crt": string(authority.PEM)})
	cert, key := other.Issue(t, time.Now().Add(time.Hour))
	l.secret("stranger", nil, map[string]string{"ca.crt": string(authority.PEM), "tls.crt": string(cert), "tls.key": string(key)})
	_, foreign := other.Issue(t, time.Now().Add(time.Hour))
	l.secret("mixed", nil, map[string]string{"tls.crt": string(cert), "tls.key": string(foreign)})
	serve := func(ip string, config *tls.Config) string {
		t.Helper()
		listener, err := net.Listen("tcp", ip+":0")
		l.Must(err)
		srv := httptest.NewUnstartedServer(http.NotFoundHandler())
		srv.Listener = listener
		srv.TLS, srv.Config.ErrorLog = config, log.New(io.Discard, "", 0)
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return "https://" + listener.Addr().String() + "/fleet"
	}
	later := time.Now().Add(time.Hour)
	mutual := authority.TLS(t, later)
	mutual.ClientAuth, mutual.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	mutual.ClientCAs.AppendCertsFromPEM(authority.PEM)
	good := serve("127.0.0.1", authority.TLS(t, later))
	for name, tt := range map[string]struct {
		url, secret, reason string
		says                []string
	}{
		"expired":      {serve("127.0.0.1", authority.TLS(t, time.Now().Add(-time.Hour))), "ca", "GitOperationFailed", []string{"certificate has expired", "; give the server a certificate that is valid"}},
		"other-name":   {serve("127.0.0.2", authority.TLS(t, later)), "ca", "GitOperationFailed", []string{"127.0.0.2", "; check spec.url, or give the server a certificate for it"}},
		"unknown":      {good, "", "GitOperationFailed", []string{"unknown authority", "put its certificate into 'ca.crt' of the Secret in spec.secretRef"}},
		"no-client":    {serve("127.0.0.1", mutual), "ca", "GitOperationFailed", []string{"certificate required", "see 'tls.crt' and 'tls.key' of the Secret in spec.secretRef"}},
		"stranger":     {serve("127.0.0.1", mutual), "stranger", "GitOperationFailed", []string{"tls: ", "see 'tls.crt' and 'tls.key' of the Secret in spec.secretRef"}},
		"mixed":        {good, "mixed", "AuthenticationFailed", []string{l.Namespace + "/mixed"}},
		"no-git":       {good, "ca", "GitOperationFailed", []string{"repository not found", "check spec.url"}},
		"plain-at-tls": {strings.Replace(good, "https", "http", 1), "", "GitOperationFailed", []string{"unable to clone '"}},
	} {
		l.create(name, func(o *sourcev1.GitRepository) {
			o.Spec.URL = tt.url
			if tt.secret != "" {
				o.Spec.SecretRef = &meta.LocalObjectReference{Name: tt.secret}
			}
		})
		_, message := l.failed(name, tt.reason)
		for _, part := range tt.says {
			if !strings.Contains(message, part) {
				t.Errorf("%s: %q does not say %q", name, message, part)
			}
		}
	}
}
