package git

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
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

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// keys are the identities of a server: an authority, a certificate that it signed, an SSH host key.
type keys struct {
	ca     *x509.Certificate
	caKey  crypto.Signer
	caPEM  []byte
	server tls.Certificate
	host   ssh.Signer
}

// loadKeys reads the authority and the host key from dir, or makes them and, if dir is set, keeps them.
func loadKeys(dir, hostKeyType string) (*keys, error) {
	k := &keys{}
	keyPEM, err := stored(dir, "ca.key", func() ([]byte, error) { return newKey("ecdsa") })
	if err != nil {
		return nil, err
	}
	if k.caKey, err = parseKey(keyPEM); err != nil {
		return nil, err
	}
	k.caPEM, err = stored(dir, "ca.crt", func() ([]byte, error) {
		return certificate(authority("Test Git server authority"), nil, k.caKey.Public(), k.caKey)
	})
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(k.caPEM)
	if block == nil {
		return nil, errors.New("ca.crt is not PEM")
	}
	if k.ca, err = x509.ParseCertificate(block.Bytes); err != nil {
		return nil, err
	}
	if k.server, err = k.serverCertificate(); err != nil {
		return nil, err
	}
	if hostKeyType == "" {
		hostKeyType = "ed25519"
	}
	hostPEM, err := stored(dir, "ssh_host_"+hostKeyType, func() ([]byte, error) { return newKey(hostKeyType) })
	if err != nil {
		return nil, err
	}
	k.host, err = ssh.ParsePrivateKey(hostPEM)
	return k, err
}

func stored(dir, name string, create func() ([]byte, error)) ([]byte, error) {
	if dir == "" {
		return create()
	}
	path := filepath.Join(dir, name)
	data, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	if data, err = create(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return data, os.WriteFile(path, data, 0o600)
}

// newKey makes a private key in PKCS #8 PEM form, which both TLS and SSH read.
func newKey(kind string) ([]byte, error) {
	var key any
	var err error
	switch kind {
	case "ed25519":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case "ecdsa":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "rsa":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		return nil, fmt.Errorf("key type %q: want ed25519, ecdsa or rsa", kind)
	}
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func parseKey(data []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("key is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("key cannot sign")
	}
	return signer, nil
}

func authority(name string) *x509.Certificate {
	t := template(name)
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	return t
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(10, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

// certificate signs the template; without a parent it signs itself.
func certificate(t, parent *x509.Certificate, public crypto.PublicKey, signer crypto.Signer) ([]byte, error) {
	if parent == nil {
		parent = t
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, public, signer)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func (k *keys) issue(t *x509.Certificate) (cert, key []byte, err error) {
	if key, err = newKey("ecdsa"); err != nil {
		return nil, nil, err
	}
	signer, err := parseKey(key)
	if err != nil {
		return nil, nil, err
	}
	cert, err = certificate(t, k.ca, signer.Public(), k.caKey)
	return cert, key, err
}

func (k *keys) serverCertificate() (tls.Certificate, error) {
	t := template("localhost")
	t.DNSNames = []string{"localhost"}
	t.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	cert, key, err := k.issue(t)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

func (k *keys) clientCertificate(name string) (cert, key []byte, err error) {
	t := template(name)
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return k.issue(t)
}

func (k *keys) tlsConfig(clientCertificate bool) *tls.Config {
	cfg := &tls.Config{Certificates: []tls.Certificate{k.server}, MinVersion: tls.VersionTLS12}
	if clientCertificate {
		cfg.ClientCAs = x509.NewCertPool()
		cfg.ClientCAs.AddCert(k.ca)
		cfg.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return cfg
}

func (k *keys) knownHosts(ln net.Listener) []byte {
	if ln == nil {
		return nil
	}
	return []byte(knownhosts.Line([]string{knownhosts.Normalize(ln.Addr().String())}, k.host.PublicKey()) + "\n")
}

// NewSSHKey makes a key pair for a client: kind is "ed25519", "ecdsa" or "rsa"; with a passphrase the
// private key is encrypted. The public key is a line of an authorized_keys file.
func NewSSHKey(kind, passphrase string) (private, public []byte, err error) {
	data, err := newKey(kind)
	if err != nil {
		return nil, nil, err
	}
	key, err := ssh.ParseRawPrivateKey(data)
	if err != nil {
		return nil, nil, err
	}
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(key, "test")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "test", []byte(passphrase))
	}
	if err != nil {
		return nil, nil, err
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(block), ssh.MarshalAuthorizedKey(signer.PublicKey()), nil
}
