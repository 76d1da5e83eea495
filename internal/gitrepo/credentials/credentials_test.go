package credentials_test

import (
	"fmt"
	"testing"

	"github.com/gitops-toolkit/flux/internal/gitrepo/credentials"
	"github.com/gitops-toolkit/flux/internal/gitrepo/transport"
)

func TestRead(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason, url string
		data        map[string]string
		want        transport.Auth
		err         string
	}{
		{"basic auth", "https://h/r", map[string]string{"username": "u", "password": "p"}, transport.Auth{Username: "u", Password: "p"}, ""},
		{"a token wins", "https://h/r", map[string]string{"username": "u", "password": "p", "bearerToken": "t"}, transport.Auth{BearerToken: "t"}, ""},
		{"a password alone", "https://h/r", map[string]string{"password": "p"}, transport.Auth{}, "invalid 'ns/git' secret data: 'password' without 'username'"},
		{"keys of today win over those of old", "https://h/r", map[string]string{"ca.crt": "new", "caFile": "old", "certFile": "c", "keyFile": "k"},
			transport.Auth{CA: []byte("new"), ClientCert: []byte("c"), ClientKey: []byte("k")}, ""},
		{"half a pair", "https://h/r", map[string]string{"tls.crt": "c"}, transport.Auth{}, "invalid 'ns/git' secret data: 'tls.crt' and 'tls.key' must be given together"},
		{"SSH", "ssh://h/r", map[string]string{"identity": "i", "known_hosts": "k", "password": "p", "username": "ignored"},
			transport.Auth{Identity: []byte("i"), KnownHosts: []byte("k"), Passphrase: "p"}, ""},
		{"SSH without known_hosts", "ssh://h/r", map[string]string{"identity": "i"}, transport.Auth{}, "invalid 'ns/git' secret data: required fields 'identity' and 'known_hosts'"},
	} {
		data := map[string][]byte{}
		for k, v := range tc.data {
			data[k] = []byte(v)
		}
		got, _, err := credentials.Read(tc.url, "ns/git", data)
		if tc.err != "" {
			if err == nil || err.Error() != tc.err {
				t.Errorf("%s: %v, want %s", tc.reason, err, tc.err)
			}
			continue
		}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(tc.want) {
			t.Errorf("%s: %+v, %v, want %+v", tc.reason, got, err, tc.want)
		}
	}
}
