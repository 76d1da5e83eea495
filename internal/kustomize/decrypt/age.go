package decrypt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"
)

// maxDataKey bounds what a key may decrypt to: a data key has 32 bytes, a Shamir part one more.
const maxDataKey = 1024

// parseIdentities reads age identities, X25519 and post-quantum ones, one a line, or one SSH private key in PEM.
// Identities of plugins are refused: they would start a program.
func parseIdentities(content []byte) ([]age.Identity, error) {
	if bytes.Contains(content, []byte("-----BEGIN ")) {
		return parseSSHIdentity(content)
	}
	var identities []age.Identity
	for i, line := range strings.Split(string(content), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		identity, err := parseIdentity(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		identities = append(identities, identity)
	}
	if len(identities) == 0 {
		return nil, errors.New("it holds no age identity (a line that begins with AGE-SECRET-KEY-)")
	}
	return identities, nil
}

func parseIdentity(line string) (identity age.Identity, err error) {
	switch {
	case strings.HasPrefix(line, "AGE-SECRET-KEY-PQ-1"):
		identity, err = age.ParseHybridIdentity(line)
	case strings.HasPrefix(line, "AGE-SECRET-KEY-1"):
		identity, err = age.ParseX25519Identity(line)
	case strings.HasPrefix(line, "AGE-PLUGIN-"):
		return nil, errors.New("identities of age plugins are not supported: a controller starts no programs")
	case strings.HasPrefix(line, "age1"), strings.HasPrefix(line, "ssh-"):
		return nil, errors.New("it is a public key (recipient); the private key (identity) is needed")
	default:
		return nil, errors.New("it is no age identity: it begins with none of AGE-SECRET-KEY-1, AGE-SECRET-KEY-PQ-1, -----BEGIN")
	}
	if err != nil {
		return nil, errors.New("malformed age identity, is it complete?") // the library may quote it
	}
	return identity, nil
}

func parseSSHIdentity(content []byte) ([]age.Identity, error) {
	identity, err := agessh.ParseIdentity(content)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil, errors.New("the SSH key has a passphrase: store it without one (ssh-keygen -p -N '')")
	}
	if err != nil {
		return nil, errors.New("malformed SSH private key, or not of type RSA or Ed25519")
	}
	return []age.Identity{identity}, nil
}

// decryptAge opens a data key that was encrypted for one of the identities.
func (k *Keys) decryptAge(ciphertext []byte) ([]byte, error) {
	if len(k.age) == 0 {
		return nil, k.missing("age identity", "identity"+ageSuffix)
	}
	plain, err := age.Decrypt(armor.NewReader(bytes.NewReader(ciphertext)), k.age...)
	var unmatched *age.NoIdentityMatchError
	if errors.As(err, &unmatched) {
		return nil, fmt.Errorf("none of the %d age identities in Secret '%s' is the one it was encrypted for", len(k.age), k.from)
	}
	if err != nil {
		return nil, fmt.Errorf("malformed age message: %w", err)
	}
	return io.ReadAll(io.LimitReader(plain, maxDataKey))
}
