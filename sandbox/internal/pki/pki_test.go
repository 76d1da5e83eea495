package pki

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"testing"
)

func TestIssue(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	authority, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.Issue("server", Subject{Name: "s", Groups: []string{"g"}, Hosts: []string{"127.0.0.1", "localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := tls.LoadX509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	ca, err := os.ReadFile(authority.CA().Cert)
	if err != nil {
		t.Fatal(err)
	}
	roots.AppendCertsFromPEM(ca)
	for _, host := range []string{"127.0.0.1", "localhost"} {
		if _, err := loaded.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if groups := loaded.Leaf.Subject.Organization; len(groups) != 1 || groups[0] != "g" {
		t.Errorf("groups %v", groups)
	}
	if info, err := os.Stat(pair.Key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others could read the key: %v", info.Mode())
	}

	before, _ := os.ReadFile(pair.Cert)
	again, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Issue("server", Subject{Name: "s"}); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(pair.Cert); !bytes.Equal(before, after) {
		t.Error("a certificate was replaced at the next start, which would cut running clients off")
	}
}
