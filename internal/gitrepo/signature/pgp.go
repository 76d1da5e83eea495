package signature

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// pgpKey is one key with its subkeys.
type pgpKey struct{ entity *openpgp.Entity }

// maxKeys bounds what one file of keys may hold.
const maxKeys = 1 << 20

// AddPGP trusts the keys of an armoured key ring, or of several in one file. What cannot be read is told when no key
// made a signature.
func (k *Keys) AddPGP(name string, ring []byte) {
	if len(ring) > maxKeys {
		k.errs = append(k.errs, fmt.Errorf("key '%s' is larger than %d bytes", name, maxKeys))
		return
	}
	for _, block := range blocks(ring) {
		list, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(block))
		if err != nil {
			k.errs = append(k.errs, fmt.Errorf("key '%s' is not an armoured OpenPGP key ring: %w", name, err))
		}
		for _, e := range list {
			k.pgp = append(k.pgp, pgpKey{e})
		}
	}
}

// blocks takes apart what "cat" put together. A file without any armour is one block, which cannot be read.
func blocks(ring []byte) (list [][]byte) {
	begin := []byte("-----BEGIN PGP ")
	for _, rest := range bytes.Split(ring, begin)[1:] {
		list = append(list, append(bytes.Clone(begin), rest...))
	}
	if list == nil {
		list = [][]byte{ring}
	}
	return list
}

func (k Keys) verifyPGP(s Signed) (string, error) {
	block, err := armor.Decode(bytes.NewReader(s.Signature))
	if err != nil || block.Type != openpgp.SignatureType {
		return "", fmt.Errorf("OpenPGP signature: %w", cmp.Or(err, ErrMalformed))
	}
	var ring openpgp.EntityList
	for _, key := range k.pgp {
		ring = append(ring, key.entity)
	}
	signer, err := openpgp.CheckDetachedSignature(ring, bytes.NewReader(s.Payload), block.Body, &packet.Config{})
	if errors.Is(err, pgperrors.ErrKeyExpired) {
		return "", fmt.Errorf("%w: %w", ErrExpired, err)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	return signer.PrimaryKey.KeyIdString(), nil
}

// pgpSigner signs with an OpenPGP key.
type pgpSigner struct{ entity *openpgp.Entity }

// NewPGPSigner reads an armoured private key. The first key in it that can sign is used; a passphrase unlocks it.
func NewPGPSigner(ring []byte, passphrase string) (Signer, error) {
	return NewPGPSignerOf(ring, passphrase, "")
}

// NewPGPSignerOf reads a key ring, armoured or not, and uses its key of that id, the last 16 digits of the
// fingerprint; of an empty id, the first.
func NewPGPSignerOf(ring []byte, passphrase, id string) (Signer, error) {
	read := openpgp.ReadKeyRing
	if bytes.HasPrefix(bytes.TrimSpace(ring), []byte("-----BEGIN")) {
		read = openpgp.ReadArmoredKeyRing
	}
	list, err := read(bytes.NewReader(ring))
	if err != nil {
		return nil, fmt.Errorf("OpenPGP signing key: %w", err)
	}
	for _, e := range list {
		if e.PrivateKey == nil || id != "" && !strings.EqualFold(e.PrimaryKey.KeyIdString(), id) {
			continue
		}
		if e.PrivateKey.Encrypted {
			if err := e.DecryptPrivateKeys([]byte(passphrase)); err != nil {
				return nil, fmt.Errorf("OpenPGP signing key: %w", ErrPassphrase)
			}
		}
		return pgpSigner{e}, nil
	}
	if id != "" {
		return nil, fmt.Errorf("OpenPGP signing key: the key ring has no private key with the id %s", id)
	}
	return nil, errors.New("OpenPGP signing key: the key ring has no private key")
}

func (p pgpSigner) Sign(payload []byte) (string, error) {
	var b strings.Builder
	if err := openpgp.ArmoredDetachSign(&b, p.entity, bytes.NewReader(payload), nil); err != nil {
		return "", fmt.Errorf("OpenPGP signature: %w", err)
	}
	return strings.TrimSuffix(b.String(), "\n") + "\n", nil
}
