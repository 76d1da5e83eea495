// Package signature checks and makes the signatures of commits and tags: OpenPGP and SSH.
//
// A signed commit carries its signature in the header gpgsig, a signed tag at its end; what is signed is the object
// without it. Split takes the two apart, Keys.Verify holds them against keys that somebody trusts, a Signer makes
// them. Which kind a signature is of is read from its armour; a key of the other kind never counts.
//
// Formats: Git's signature-format page, RFC 9580, and PROTOCOL.sshsig of OpenSSH.
package signature

import (
	"bytes"
	"errors"
	"fmt"
)

var (
	// ErrUnsigned is returned for an object without a signature.
	ErrUnsigned = errors.New("it is not signed")
	// ErrUntrusted is wrapped when no key that is trusted made the signature.
	ErrUntrusted = errors.New("no trusted key made the signature")
	// ErrExpired is wrapped when a trusted key made the signature, but has expired since.
	ErrExpired = errors.New("the trusted key that made the signature has expired")
	// ErrPassphrase is wrapped when a private key stays locked.
	ErrPassphrase = errors.New("the passphrase does not unlock it")
	// ErrMalformed is wrapped when a signature or an object cannot be read.
	ErrMalformed = errors.New("malformed")
)

// Kind is how a signature was made.
type Kind int

// The kinds of signatures.
const (
	OpenPGP Kind = iota
	SSH
)

var (
	beginPGP = []byte("-----BEGIN PGP SIGNATURE-----")
	beginSSH = []byte("-----BEGIN SSH SIGNATURE-----")
)

// Signed is an object apart from its signature.
type Signed struct {
	Kind      Kind
	Payload   []byte
	Signature []byte
}

// SplitCommit takes the signature out of a commit. The error is ErrUnsigned if it has none.
func SplitCommit(raw []byte) (Signed, error) {
	var s Signed
	head, body, found := bytes.Cut(raw, []byte("\n\n"))
	if !found {
		return s, fmt.Errorf("commit: %w", ErrMalformed)
	}
	inside, seen := false, false
	for line := range bytes.Lines(append(bytes.Clone(head), '\n')) {
		value, isSignature := bytes.CutPrefix(line, []byte("gpgsig "))
		rest, continued := bytes.CutPrefix(line, []byte(" "))
		switch {
		case isSignature && seen:
			return s, fmt.Errorf("commit with more than one signature: %w", ErrMalformed)
		case isSignature:
			inside, seen = true, true
			s.Signature = append(s.Signature, value...)
		case continued && inside:
			s.Signature = append(s.Signature, rest...)
		case bytes.HasPrefix(line, []byte("gpgsig-sha256 ")):
			// Of the same object in a repository of another format; no part of what is signed.
			return s, fmt.Errorf("commit with a signature over another format: %w", ErrMalformed)
		default:
			inside = false
			s.Payload = append(s.Payload, line...)
		}
	}
	if !seen {
		return s, ErrUnsigned
	}
	s.Payload = append(append(s.Payload, '\n'), body...)
	return s, s.detect()
}

// SplitTag takes the signature off a tag. The error is ErrUnsigned if it has none.
func SplitTag(raw []byte) (Signed, error) {
	at := -1
	for start := 0; start < len(raw); {
		if bytes.HasPrefix(raw[start:], beginPGP) || bytes.HasPrefix(raw[start:], beginSSH) {
			at = start // The last one counts, as for Git.
		}
		next := bytes.IndexByte(raw[start:], '\n')
		if next < 0 {
			break
		}
		start += next + 1
	}
	if at < 0 {
		return Signed{}, ErrUnsigned
	}
	s := Signed{Payload: raw[:at], Signature: raw[at:]}
	return s, s.detect()
}

func (s *Signed) detect() error {
	switch {
	case bytes.HasPrefix(s.Signature, beginPGP):
		s.Kind = OpenPGP
	case bytes.HasPrefix(s.Signature, beginSSH):
		s.Kind = SSH
	default:
		return fmt.Errorf("signature of a kind that is not known (X.509 is not supported): %w", ErrMalformed)
	}
	return nil
}

// Keys are public keys that somebody trusts. The zero value trusts nobody.
type Keys struct {
	pgp  []pgpKey
	ssh  []sshKey
	errs []error // of what could not be read
}

// Verify returns the id of the key that made the signature: the last 16 digits of an OpenPGP key's fingerprint, or the
// SHA256 fingerprint of an SSH key.
func (k Keys) Verify(s Signed) (id string, err error) {
	switch {
	case s.Kind == SSH && len(k.ssh) == 0:
		err = errors.New("SSH signature detected but no SSH public keys found in secret (keys with .sshpub suffix)")
	case s.Kind == OpenPGP && len(k.pgp) == 0:
		err = errors.New("PGP signature detected but no PGP public keys found in secret (keys with .asc suffix)")
	case s.Kind == SSH:
		id, err = k.verifySSH(s)
	default:
		id, err = k.verifyPGP(s)
	}
	if err != nil {
		return "", errors.Join(append([]error{err}, k.errs...)...)
	}
	return id, nil
}
