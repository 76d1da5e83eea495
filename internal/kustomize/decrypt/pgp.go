package decrypt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// parsePGP reads armored private keys, several blocks one after the other too.
func parsePGP(content []byte) (openpgp.EntityList, error) {
	var keys openpgp.EntityList
	rest := bytes.NewReader(content)
	for {
		block, err := armor.Decode(rest)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, errors.New("it is no armored OpenPGP key (gpg --export-secret-keys --armor)")
		}
		found, err := openpgp.ReadKeyRing(block.Body)
		if err != nil {
			return nil, fmt.Errorf("the OpenPGP key cannot be read: %w", err)
		}
		keys = append(keys, found...)
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no armored OpenPGP key (gpg --export-secret-keys --armor)")
	}
	return keys, checkPGP(keys)
}

// checkPGP refuses keys that cannot decrypt anything.
func checkPGP(keys openpgp.EntityList) error {
	usable, locked := false, false
	for _, private := range privateKeys(keys) {
		locked = locked || private.Encrypted
		usable = usable || !private.Encrypted && !private.Dummy()
	}
	switch {
	case usable:
		return nil
	case locked:
		return errors.New("the OpenPGP key has a passphrase: export it without one")
	}
	return errors.New("it holds public keys only; the private key is needed (gpg --export-secret-keys --armor)")
}

func privateKeys(keys openpgp.EntityList) []*packet.PrivateKey {
	var private []*packet.PrivateKey
	for _, e := range keys {
		if e.PrivateKey != nil {
			private = append(private, e.PrivateKey)
		}
		for _, sub := range e.Subkeys {
			if sub.PrivateKey != nil {
				private = append(private, sub.PrivateKey)
			}
		}
	}
	return private
}

// decryptPGP opens a data key that was encrypted for one of the OpenPGP keys.
func (k *Keys) decryptPGP(ciphertext []byte) ([]byte, error) {
	if len(k.pgp) == 0 {
		return nil, k.missing("OpenPGP key", "name"+pgpSuffix)
	}
	block, err := armor.Decode(strings.NewReader(string(ciphertext)))
	if err != nil {
		return nil, errors.New("malformed OpenPGP message: no armor")
	}
	message, err := openpgp.ReadMessage(block.Body, k.pgp, nil, nil)
	if errors.Is(err, pgperrors.ErrKeyIncorrect) {
		return nil, fmt.Errorf("none of the OpenPGP keys in Secret '%s' is the one it was encrypted for", k.from)
	}
	if err != nil {
		return nil, fmt.Errorf("malformed OpenPGP message: %w", err)
	}
	return io.ReadAll(io.LimitReader(message.UnverifiedBody, maxDataKey))
}
