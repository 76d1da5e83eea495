package auth_test

import (
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/internal/auth"
)

func data(pairs ...string) map[string][]byte {
	m := map[string][]byte{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = []byte(pairs[i+1])
	}
	return m
}

func TestReadTLS(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		reason string
		data   map[string][]byte
		want   auth.TLS
		legacy bool
		err    string
	}{
		{"nothing", nil, auth.TLS{}, false, ""},
		{"keys of today win", data("ca.crt", "a", "caFile", "b"), auth.TLS{CA: []byte("a")}, false, ""},
		{"keys of old", data("caFile", "a", "certFile", "b", "keyFile", "c"), auth.TLS{CA: []byte("a"), Cert: []byte("b"), Key: []byte("c")}, true, ""},
		{"a certificate without key", data("tls.crt", "b"), auth.TLS{}, false, "'tls.crt' and 'tls.key' must be given together"},
	} {
		got, legacy, err := auth.ReadTLS("ns/tls", tt.data)
		if got.Fingerprint() != tt.want.Fingerprint() || legacy != tt.legacy || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %+v, %t, %v", tt.reason, got, legacy, err)
		}
	}
	for _, bad := range []auth.TLS{{CA: []byte("canary")}, {Cert: []byte("canary"), Key: []byte("canary")}} {
		if _, err := bad.Config(); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v", err)
		}
	}
}

func TestReadProxy(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"http://proxy:3128":       "",
		"https://proxy":           "",
		"socks5://proxy:1080":     "",
		"":                        "key 'address' is missing",
		"proxy:3128":              "not a URL",
		"ftp://proxy":             "scheme 'ftp' is none of",
		strings.Repeat("a", 3000): "longer than 2048",
	} {
		u, err := auth.ReadProxy("ns/proxy", data("address", address, "username", "u", "password", "p"))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.20s: %v, want %q", address, err, want)
		}
		if err == nil && u.User.String() != "u:p" {
			t.Errorf("%s: user %s", address, u.User)
		}
	}
}
