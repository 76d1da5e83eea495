package signature

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// Names of the format.
const (
	sshMagic     = "SSHSIG"
	sshVersion   = 1
	sshNamespace = "git"
	sshArmour    = "SSH SIGNATURE"
)

// sshKey is one key that is trusted.
type sshKey struct{ ssh.PublicKey }

// AddSSH trusts the keys of a file in the format of authorized_keys. What cannot be read is told when no key made a
// signature.
func (k *Keys) AddSSH(name string, file []byte) {
	if len(file) > maxKeys {
		k.errs = append(k.errs, fmt.Errorf("key '%s' is larger than %d bytes", name, maxKeys))
		return
	}
	for line := range bytes.Lines(file) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey(line)
		if err != nil {
			k.errs = append(k.errs, fmt.Errorf("key '%s' has a line that is no SSH public key: %w", name, err))
			continue
		}
		k.ssh = append(k.ssh, sshKey{key})
	}
}

// envelope is what the armour holds, after the magic.
type envelope struct {
	Version       uint32
	PublicKey     []byte
	Namespace     string
	Reserved      []byte
	HashAlgorithm string
	Signature     []byte
}

// signedData is what the key signs, after the magic.
type signedData struct {
	Namespace     string
	Reserved      []byte
	HashAlgorithm string
	Hash          []byte
}

func (k Keys) verifySSH(s Signed) (string, error) {
	e, err := openEnvelope(s.Signature)
	if err != nil {
		return "", fmt.Errorf("SSH signature: %w", err)
	}
	for _, key := range k.ssh {
		if !bytes.Equal(key.Marshal(), e.PublicKey) {
			continue
		}
		if err := e.verify(key, s.Payload); err != nil {
			return "", fmt.Errorf("%w: %w", ErrUntrusted, err)
		}
		return ssh.FingerprintSHA256(key), nil
	}
	name := "a key that cannot be read"
	if key, err := ssh.ParsePublicKey(e.PublicKey); err == nil {
		name = "the key " + ssh.FingerprintSHA256(key)
	}
	return "", fmt.Errorf("%w: it was made by %s", ErrUntrusted, name)
}

func openEnvelope(armoured []byte) (envelope, error) {
	var e envelope
	block, _ := pem.Decode(armoured)
	if block == nil || block.Type != sshArmour || !bytes.HasPrefix(block.Bytes, []byte(sshMagic)) {
		return e, ErrMalformed
	}
	if err := ssh.Unmarshal(block.Bytes[len(sshMagic):], &e); err != nil {
		return e, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	switch {
	case e.Version != sshVersion:
		return e, fmt.Errorf("version %d: %w", e.Version, ErrMalformed)
	case e.Namespace != sshNamespace:
		return e, fmt.Errorf("made for '%.50s', not for Git", e.Namespace)
	}
	return e, nil
}

func (e envelope) verify(key ssh.PublicKey, payload []byte) error {
	var sig ssh.Signature
	if err := ssh.Unmarshal(e.Signature, &sig); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if sig.Format == ssh.KeyAlgoRSA {
		return errors.New("RSA with SHA-1 is not accepted")
	}
	data, err := e.data(payload)
	if err != nil {
		return err
	}
	return key.Verify(data, &sig)
}

// data is the message that the key signs.
func (e envelope) data(payload []byte) ([]byte, error) {
	d := signedData{Namespace: e.Namespace, Reserved: e.Reserved, HashAlgorithm: e.HashAlgorithm}
	switch e.HashAlgorithm {
	case "sha256":
		sum := sha256.Sum256(payload)
		d.Hash = sum[:]
	case "sha512":
		sum := sha512.Sum512(payload)
		d.Hash = sum[:]
	default:
		return nil, fmt.Errorf("hash algorithm '%.50s': %w", e.HashAlgorithm, ErrMalformed)
	}
	return append([]byte(sshMagic), ssh.Marshal(d)...), nil
}

// Signer makes signatures.
type Signer interface {
	// Sign returns the armoured signature of a payload.
	Sign(payload []byte) (string, error)
}

type sshSigner struct{ ssh.Signer }

// NewSSHSigner reads an SSH private key.
func NewSSHSigner(key []byte, passphrase string) (Signer, error) {
	signer, err := ssh.ParsePrivateKey(key)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		signer, err = ssh.ParsePrivateKeyWithPassphrase(key, []byte(passphrase))
		if passphrase == "" || errors.Is(err, x509.IncorrectPasswordError) {
			err = ErrPassphrase
		}
	}
	if err != nil {
		return nil, fmt.Errorf("SSH signing key: %w", err)
	}
	if err := checkSSHKey(signer.PublicKey()); err != nil {
		return nil, fmt.Errorf("SSH signing key: %w", err)
	}
	return sshSigner{signer}, nil
}

// minRSA is the least size of RSA keys, in bits.
const minRSA = 2048

// checkSSHKey refuses keys whose signatures nobody should trust.
func checkSSHKey(key ssh.PublicKey) error {
	switch t := key.Type(); t {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return nil
	case ssh.KeyAlgoRSA:
		if k, ok := key.(ssh.CryptoPublicKey); ok {
			if public, ok := k.CryptoPublicKey().(*rsa.PublicKey); ok && public.N.BitLen() >= minRSA {
				return nil
			}
		}
		return fmt.Errorf("the RSA key has less than %d bits", minRSA)
	default:
		return fmt.Errorf("keys of the type %s are not supported: use ed25519, ecdsa, or rsa with %d bits or more", t, minRSA)
	}
}

func (s sshSigner) Sign(payload []byte) (string, error) {
	e := envelope{Version: sshVersion, PublicKey: s.PublicKey().Marshal(), Namespace: sshNamespace, HashAlgorithm: "sha512"}
	data, err := e.data(payload)
	if err != nil {
		return "", err
	}
	sig, err := s.sign(data)
	if err != nil {
		return "", fmt.Errorf("SSH signature: %w", err)
	}
	e.Signature = ssh.Marshal(sig)
	block := &pem.Block{Type: sshArmour, Bytes: append([]byte(sshMagic), ssh.Marshal(e)...)}
	return string(pem.EncodeToMemory(block)), nil
}

func (s sshSigner) sign(data []byte) (*ssh.Signature, error) {
	if a, ok := s.Signer.(ssh.AlgorithmSigner); ok && s.PublicKey().Type() == ssh.KeyAlgoRSA {
		return a.SignWithAlgorithm(rand.Reader, data, ssh.KeyAlgoRSASHA512)
	}
	return s.Signer.Sign(rand.Reader, data)
}
