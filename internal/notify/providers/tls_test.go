package providers

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/api/meta"
	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
)

// A certificate that is not trusted is told with what to do about it, and not asked for again.
func TestTLS(t *testing.T) {
	t.Parallel()
	pair, ca := certificate(t)
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		"ca.crt": ca, "tls.crt": ca, "tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	start := func(clients tls.ClientAuthType) string {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: clients, ClientCAs: pool}
		server.StartTLS()
		t.Cleanup(server.Close)
		return server.URL
	}
	open, closed := start(tls.NoClientCert), start(tls.RequireAndVerifyClientCert)
	for _, tt := range []struct {
		reason, address string
		keys            []string
		want            string
	}{
		{"its authority is known", open, []string{"ca.crt"}, ""},
		{"its authority is not known", open, nil, "put the certificate of its authority into the Secret of spec.certSecretRef, under ca.crt"},
		{"another name", strings.Replace(open, "127.0.0.1", "localhost", 1), []string{"ca.crt"}, "not trusted"},
		{"we show ours", closed, []string{"ca.crt", "tls.crt", "tls.key"}, ""},
		{"we show none", closed, []string{"ca.crt"}, "certificate required"},
	} {
		spec := notificationv1.ProviderSpec{Type: "generic", Address: tt.address}
		if tt.keys != nil {
			spec.CertSecretRef = &meta.LocalObjectReference{Name: "certs"}
		}
		c, err := Read(&notificationv1.Provider{Spec: spec}, func(string) (map[string][]byte, error) {
			data := map[string][]byte{}
			for _, k := range tt.keys {
				data[k] = files[k]
			}
			return data, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		sender, err := c.Open()
		if err != nil {
			t.Fatal(err)
		}
		err = sender.Send(t.Context(), sample())
		c.Close()
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.reason, err)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.reason, err)
			continue
		}
		if _, again := e.Retry(); again {
			t.Errorf("%s: it is tried again: %v", tt.reason, err)
		}
	}
}
