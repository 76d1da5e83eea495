package providers

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// Everything that keeps to the policy reaches the operator's proxy wherever it is, and asks it for nothing private.
func TestTransportThroughTheOperatorsProxy(t *testing.T) {
	t.Parallel()
	var asked []string
	proxy := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = append(asked, r.URL.Host) }))
	defer proxy.Close()
	at, err := url.Parse(proxy.URL) // on loopback, as private as can be
	if err != nil {
		t.Fatal(err)
	}
	through := Policy{PublicOnly: true}.transport(http.ProxyURL(at))
	defer through.CloseIdleConnections()
	get := func(address string) error {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := through.RoundTrip(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		return err
	}
	if err := get("http://192.0.2.1/.well-known/openid-configuration"); err != nil {
		t.Errorf("an address of the internet: %v", err)
	}
	var refusal *policyError
	for _, address := range []string{"http://169.254.169.254/latest", "http://10.0.0.1/", "http://127.0.0.1:1/"} {
		if err := get(address); !errors.As(err, &refusal) {
			t.Errorf("%s: %v", address, err)
		}
	}
	if len(asked) != 1 {
		t.Errorf("the proxy was asked for %v", asked)
	}
}
