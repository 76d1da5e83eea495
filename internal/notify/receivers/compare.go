package receivers

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what some services sign with
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
)

var errSignature = errors.New("payload signature check failed")

// algorithms of signatures of the form <name>=<hex>.
var algorithms = map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}

// checkSignature checks <algorithm>=<hex HMAC of the body>.
func checkSignature(signature string, body, key []byte) error {
	if signature == "" {
		return errors.New("missing signature")
	}
	name, value, ok := strings.Cut(signature, "=")
	if !ok {
		return fmt.Errorf("error parsing signature %q", clip(signature))
	}
	algorithm := algorithms[name]
	if algorithm == nil {
		return fmt.Errorf("unknown hash type prefix: %q", clip(name))
	}
	return checkHMAC(algorithm, value, body, key)
}

// checkHMAC takes the same time wherever the signature is wrong.
func checkHMAC(algorithm func() hash.Hash, signature string, body, key []byte) error {
	if len(key) == 0 {
		return errors.New("the Receiver's Secret has no token")
	}
	given, err := hex.DecodeString(signature)
	if err != nil {
		return errSignature
	}
	mac := hmac.New(algorithm, key)
	mac.Write(body)
	if !hmac.Equal(given, mac.Sum(nil)) {
		return errSignature
	}
	return nil
}

// equal compares secrets without telling their length.
func equal(given string, want []byte) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256(want)
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1 && len(want) > 0
}

func clip(s string) string { return s[:min(len(s), 64)] }
