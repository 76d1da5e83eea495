// Package sshkey makes and reads the SSH keys that commands put into Secrets, and asks servers for
// their own.
package sshkey

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

	"github.com/gitops-toolkit/flux/internal/cli/value"
)

// MaxFile bounds what is read from a file that a flag names, in bytes; a Secret holds 1 MiB.
const MaxFile = 1 << 20

// Flags choose the key that is generated.
type Flags struct {
	algorithm string
	curve     string
	bits      value.RSABits
	// File is a private key to use instead.
	File string
}

// Define adds the flags to a command.
func (f *Flags) Define(flags *pflag.FlagSet) {
	f.algorithm, f.curve, f.bits = "ecdsa", "p384", 2048
	flags.Var(value.OneOf(&f.algorithm, "SSH key algorithm", "rsa", "ecdsa", "ed25519"), "ssh-key-algorithm", "algorithm of the SSH key that is generated: rsa, ecdsa or ed25519")
	flags.Var(value.OneOf(&f.curve, "SSH ECDSA curve", "p256", "p384", "p521"), "ssh-ecdsa-curve", "curve of a generated ECDSA key: p256, p384 or p521")
	flags.Var(&f.bits, "ssh-rsa-bits", "size of a generated RSA key in bits")
	flags.StringVar(&f.File, "private-key-file", "", "private key to use instead of a generated one")
}

// Pair is an SSH identity as a Secret holds it.
type Pair struct{ Private, Public []byte }

// Pair reads the key file, or generates a key.
func (f *Flags) Pair(passphrase string) (Pair, error) {
	if f.File != "" {
		return readPair(f.File, passphrase)
	}
	private, err := f.generate()
	if err != nil {
		return Pair{}, fmt.Errorf("generate an SSH key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return Pair{}, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return Pair{}, err
	}
	return Pair{pem.EncodeToMemory(block), ssh.MarshalAuthorizedKey(signer.PublicKey())}, nil
}

func (f *Flags) generate() (crypto.PrivateKey, error) {
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

func readPair(file, passphrase string) (Pair, error) {
	text, err := ReadFile(file)
	if err != nil {
		return Pair{}, err
	}
	var signer ssh.Signer
	if passphrase != "" {
		signer, err = ssh.ParsePrivateKeyWithPassphrase(text, []byte(passphrase))
	} else {
		signer, err = ssh.ParsePrivateKey(text)
	}
	if err != nil {
		return Pair{}, fmt.Errorf("read private key %s: %w", file, err)
	}
	return Pair{text, ssh.MarshalAuthorizedKey(signer.PublicKey())}, nil
}

// ReadFile reads a file that a Secret is to hold.
func ReadFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > MaxFile {
		return nil, fmt.Errorf("%s is larger than a Secret may be (%d bytes)", name, MaxFile)
	}
	return os.ReadFile(name)
}

// errScanned ends a connection as soon as the host key is known.
var errScanned = errors.New("host key seen")

// Scan asks an SSH server for its key and returns a line for known_hosts. Algorithms, if any, restrict
// what the server may show.
func Scan(ctx context.Context, u *url.URL, algorithms ...string) ([]byte, error) {
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
	config := &ssh.ClientConfig{HostKeyAlgorithms: algorithms, HostKeyCallback: func(host string, _ net.Addr, key ssh.PublicKey) error {
		line = []byte(knownhosts.Line([]string{knownhosts.Normalize(host)}, key) + "\n")
		return errScanned
	}}
	_, _, _, err = ssh.NewClientConn(conn, address, config)
	if line == nil {
		return nil, fmt.Errorf("SSH key scan for host %s failed, error: %w", address, err)
	}
	return line, nil
}
