// Package pki makes the certificates of one sandbox: one authority of its own,
// and below it a key pair for each server and client. All keys are ECDSA P-256,
// made at start, kept in the sandbox directory and removed with it.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Lifetime is how long the certificates of a sandbox are good.
const Lifetime = 365 * 24 * time.Hour

// Pair names the files of a certificate and its key.
type Pair struct{ Cert, Key string }

// Subject says who a certificate is for.
type Subject struct {
	// Name is the common name, which is the user name of a client.
	Name string
	// Groups are the organisations, which are the groups of a client.
	Groups []string
	// Hosts are the host names and IP addresses of a server.
	Hosts []string
}

// Authority signs certificates below one directory.
type Authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Open loads the authority kept in dir, or makes a new one when there is none
// or it ends within a month.
func Open(dir string) (*Authority, error) {
	a := &Authority{dir: dir}
	if err := a.load(); err == nil && time.Until(a.cert.NotAfter) > 30*24*time.Hour {
		return a, nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return a, a.create()
}

// CA returns the file with the authority's certificate and key.
func (a *Authority) CA() Pair { return a.files("ca") }

// Issue returns a key pair for the subject, making it when it does not exist.
func (a *Authority) Issue(name string, s Subject) (Pair, error) {
	pair := a.files(name)
	if _, err := os.Stat(pair.Key); err == nil {
		return pair, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	template, err := newTemplate(s)
	if err != nil {
		return Pair{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("issue certificate %s: %w", name, err)
	}
	return pair, writePair(pair, der, key)
}

// Token returns a client's secret, made when there is none yet.
func (a *Authority) Token(name string) (string, error) {
	file := filepath.Join(a.dir, name+".token")
	token, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		token = []byte(rand.Text())
		err = os.WriteFile(file, token, 0o600)
	}
	return string(token), err
}

// Key returns a bare key pair, private and public, as service account tokens
// are signed with.
func (a *Authority) Key(name string) (private, public string, err error) {
	private, public = filepath.Join(a.dir, name+".key"), filepath.Join(a.dir, name+".pub")
	if _, err := os.Stat(public); err == nil {
		return private, public, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", "", err
	}
	if err := writeKey(private, key); err != nil {
		return "", "", err
	}
	return private, public, writePEM(public, "PUBLIC KEY", der)
}

func (a *Authority) files(name string) Pair {
	return Pair{Cert: filepath.Join(a.dir, name+".crt"), Key: filepath.Join(a.dir, name+".key")}
}

func (a *Authority) load() error {
	pair := a.CA()
	certPEM, err := os.ReadFile(pair.Cert)
	if err != nil {
		return err
	}
	keyPEM, err := os.ReadFile(pair.Key)
	if err != nil {
		return err
	}
	certBlock, _ := pem.Decode(certPEM)
	keyBlock, _ := pem.Decode(keyPEM)
	if certBlock == nil || keyBlock == nil {
		return errors.New("no PEM data in the authority's files")
	}
	if a.cert, err = x509.ParseCertificate(certBlock.Bytes); err != nil {
		return err
	}
	a.key, err = x509.ParseECPrivateKey(keyBlock.Bytes)
	return err
}

func (a *Authority) create() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template, err := newTemplate(Subject{Name: "flux-sandbox-ca"})
	if err != nil {
		return err
	}
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = nil
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("create the sandbox's certificate authority: %w", err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	a.key = key
	return writePair(a.CA(), der, key)
}

func newTemplate(s Subject) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: s.Name, Organization: s.Groups},
		NotBefore:    now.Add(-time.Hour), // clocks of virtual machines jump
		NotAfter:     now.Add(Lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	for _, host := range s.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, host)
		}
	}
	return t, nil
}

func writePair(pair Pair, der []byte, key *ecdsa.PrivateKey) error {
	if err := writePEM(pair.Cert, "CERTIFICATE", der); err != nil {
		return err
	}
	// The key last: Issue takes its presence as proof of a whole pair.
	return writeKey(pair.Key, key)
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(path, "EC PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
