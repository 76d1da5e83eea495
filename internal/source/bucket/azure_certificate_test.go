package bucket

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/auth/cloud/cloudtest"
)

const (
	sovereign   = "login.sovereign.example"
	byPrincipal = "canary-token-of-the-principal"
)

// principalCertificate is a key with its certificate, in one PEM file.
func principalCertificate(t *testing.T) (file string, cert *x509.Certificate) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "flux"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})) + string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), cert
}

// proves holds an assertion against what Microsoft publishes of certificate credentials: a JWT that the certificate's key
// has signed, by the client about itself, for this endpoint; the chain goes along if it is asked for.
func proves(assertion, audience string, cert *x509.Certificate, chain bool) error {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return fmt.Errorf("no JWT")
	}
	var header struct {
		Alg string   `json:"alg"`
		X5C []string `json:"x5c"`
		X5T string   `json:"x5t#S256"`
	}
	var claims struct{ Iss, Sub, Aud string }
	for i, into := range []any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err == nil {
			err = json.Unmarshal(text, into)
		}
		if err != nil {
			return err
		}
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if header.Alg == "PS256" {
		err = rsa.VerifyPSS(cert.PublicKey.(*rsa.PublicKey), crypto.SHA256, sum[:], signature, nil)
	} else {
		err = rsa.VerifyPKCS1v15(cert.PublicKey.(*rsa.PublicKey), crypto.SHA256, sum[:], signature)
	}
	thumb := sha256.Sum256(cert.Raw)
	switch {
	case err != nil:
		return err
	case header.X5T != base64.StdEncoding.EncodeToString(thumb[:]): // As Microsoft's libraries write it.
		return fmt.Errorf("thumbprint %q", header.X5T)
	case (len(header.X5C) == 1 && header.X5C[0] == base64.StdEncoding.EncodeToString(cert.Raw)) != chain:
		return fmt.Errorf("chain %v", header.X5C)
	case claims.Iss != cloudtest.ClientID || claims.Sub != cloudtest.ClientID || claims.Aud != audience:
		return fmt.Errorf("claims %+v", claims)
	}
	return nil
}

// TestAzureCertificate logs in by a certificate, with and without its chain, at the authority that the Secret names.
func TestAzureCertificate(t *testing.T) {
	t.Parallel()
	files := map[string]string{"a.yaml": "a"}
	key, cert := principalCertificate(t)
	for authority, chain := range map[string]string{"": "", "https://" + sovereign + "/": "true"} {
		host := "login.microsoftonline.com"
		if authority != "" {
			host = sovereign
		}
		base := "https://" + host + "/" + cloudtest.TenantID
		var refused error
		entra := func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			switch {
			case strings.HasSuffix(r.URL.Path, "/discovery/instance"):
				fmt.Fprintf(w, `{"tenant_discovery_endpoint":"%s/v2.0/.well-known/openid-configuration","metadata":[{"preferred_network":%q,"preferred_cache":%q,"aliases":[%q]}]}`, base, host, host, host)
			case strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
				fmt.Fprintf(w, `{"issuer":"%s/v2.0","authorization_endpoint":"%s/oauth2/v2.0/authorize","token_endpoint":"%s/oauth2/v2.0/token"}`, base, base, base)
			default:
				if refused = r.ParseForm(); refused == nil {
					refused = proves(r.Form.Get("client_assertion"), base+"/oauth2/v2.0/token", cert, chain != "")
				}
				if refused != nil || r.URL.Host != host || r.Form.Get("grant_type") != "client_credentials" || r.Form.Get("scope") == "" {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":3599,"access_token":%q}`, byPrincipal)
			}
		}
		data := map[string]string{"tenantId": cloudtest.TenantID, "clientId": cloudtest.ClientID, "clientCertificate": key, "authorityHost": authority, "clientCertificateSendChain": chain}
		transport := hosts{
			azureHost: azureBlobs(files, func(r *http.Request) bool { return bearer(r, byPrincipal) }),
			sovereign: entra, "login.microsoftonline.com": entra,
		}
		st, _, err := openAzure(context.Background(), settingsFor(t, sourcev1.BucketSpec{Provider: "azure", BucketName: "sample", Endpoint: "https://" + azureHost}, data, transport))
		if err != nil {
			t.Fatal(err)
		}
		var objects []object
		if err := st.list(context.Background(), "", func(o object) error { objects = append(objects, o); return nil }); err != nil {
			t.Errorf("at %s: %v: %v", host, err, refused)
			continue
		}
		if got := read(t, st, ""); !maps.Equal(got, files) {
			t.Errorf("at %s: holds %v", host, got)
		}
	}
}
