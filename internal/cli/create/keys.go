package create

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"

	"github.com/spf13/pflag"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// maxFile bounds what is read from a file that a flag names, in bytes; a Secret holds 1 MiB.
const maxFile = 1 << 20

// keyFlags choose the key that is generated.
type keyFlags struct {
	algorithm string
	curve     string
	bits      rsaBits
	file      string
}

func (f *keyFlags) define(flags *pflag.FlagSet) {
	f.algorithm, f.curve, f.bits = "ecdsa", "p384", 2048
	flags.Var(oneOf(&f.algorithm, "SSH key algorithm", "rsa", "ecdsa", "ed25519"), "ssh-key-algorithm", "algorithm of the SSH key that is generated: rsa, ecdsa or ed25519")
	flags.Var(oneOf(&f.curve, "SSH ECDSA curve", "p256", "p384", "p521"), "ssh-ecdsa-curve", "curve of a generated ECDSA key: p256, p384 or p521")
	flags.Var(&f.bits, "ssh-rsa-bits", "size of a generated RSA key in bits")
	flags.StringVar(&f.file, "private-key-file", "", "private key to use instead of a generated one")
}

// keyPair is an SSH identity as a Secret holds it.
type keyPair struct{ private, public []byte }

// pair reads the key file, or generates a key.
func (f *keyFlags) pair(passphrase string) (keyPair, error) {
	if f.file != "" {
		return readPair(f.file, passphrase)
	}
	private, err := f.generate()
	if err != nil {
		return keyPair{}, fmt.Errorf("generate an SSH key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return keyPair{}, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return keyPair{}, err
	}
	return keyPair{pem.EncodeToMemory(block), ssh.MarshalAuthorizedKey(signer.PublicKey())}, nil
}

func (f *keyFlags) generate() (crypto.PrivateKey, error) {
	switch f.algorithm {
	case "rsa":
		return rsa.GenerateKey(rand.Reader, int(f.bits))
	case "ed25519":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	}
	curves := map[string]elliptic.Curve{"p256": elliptic.P256(), "p384": elliptic.P384(), "p521": elliptic.P521()}
	return ecdsa.GenerateKey(curves[f.curve], rand.Reader)
}

func readPair(file, passphrase string) (keyPair, error) {
	text, err := readFile(file)
	if err != nil {
		return keyPair{}, err
	}
	var signer ssh.Signer
	if passphrase != "" {
		signer, err = ssh.ParsePrivateKeyWithPassphrase(text, []byte(passphrase))
	} else {
		signer, err = ssh.ParsePrivateKey(text)
	}
	if err != nil {
		return keyPair{}, fmt.Errorf("read private key %s: %w", file, err)
	}
	return keyPair{text, ssh.MarshalAuthorizedKey(signer.PublicKey())}, nil
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s is larger than a Secret may be (%d bytes)", name, maxFile)
	}
	return os.ReadFile(name)
}

// errScanned ends a connection as soon as the host key is known.
var errScanned = errors.New("host key seen")

// scanHostKey asks an SSH server for its key and returns a line for known_hosts.
func scanHostKey(ctx context.Context, u *url.URL) ([]byte, error) {
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), "22")
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("SSH key scan for host %s failed, error: %w", address, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var line []byte
	config := &ssh.ClientConfig{HostKeyCallback: func(host string, _ net.Addr, key ssh.PublicKey) error {
		line = []byte(knownhosts.Line([]string{knownhosts.Normalize(host)}, key) + "\n")
		return errScanned
	}}
	_, _, _, err = ssh.NewClientConn(conn, address, config)
	if line == nil {
		return nil, fmt.Errorf("SSH key scan for host %s failed, error: %w", address, err)
	}
	return line, nil
}
