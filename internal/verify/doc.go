// Package verify tells whether an artifact in an OCI registry is signed as somebody wants it: with cosign by a key or
// by an identity, or with notation. It knows nothing of custom resources.
//
// # Where signatures are
//
// Cosign 3 keeps a signature as a Sigstore bundle: a manifest that refers to the artifact (bundle.go). Before, it was
// a layer of the manifest with the tag sha256-<digest>.sig, with certificates and the proof of the transparency log in
// annotations (legacy.go); it is turned into a bundle, and sigstore-go decides about both. Notation's signatures refer
// to the artifact as bundles do (notation.go); notation-go decides about them. All are read with the connection of the
// repository: its login, certificates, proxy.
//
// # What is checked
//
// By key (Keys), the signature; no transparency log is asked for, as anybody who holds the key may sign. By identity
// (Keyless), the signature, the certificate at the time of signing, its being in a certificate transparency log if the
// trusted root names one, the entry in the transparency log, and the identity. One signature that passes is enough;
// others may be there for other people. What is signed must be the digest asked about.
//
// Everything that a registry answers is bounded in number and size before it is parsed.
package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/gitops-toolkit/flux/internal/registry"
)

// Result of a verification that found nothing wrong.
type Result int

const (
	// Verified says that a signature passed.
	Verified Result = iota + 1
	// Ignored says that the policy lets the artifact pass without a signature that did.
	Ignored
)

// Verifier decides about artifacts. It is safe for concurrent use.
type Verifier interface {
	// Name of the method for messages: "cosign", "cosign keyless" or "notation".
	Name() string
	// Verify looks for the signatures of the manifest or index with this digest. An error is ErrUnsigned when they were
	// looked at and none passes; anything else prevented the look.
	Verify(ctx context.Context, repo *registry.Repository, digest string) (Result, error)
}

// Errors that callers tell apart.
var (
	// ErrUnsigned says that no signature passes.
	ErrUnsigned = errors.New("no matching signatures were found")
	// ErrTrust says that what is to be trusted is not usable: a key, a certificate, a trusted root, a policy.
	ErrTrust = errors.New("invalid trust settings")
)

// Limits of what is looked at for one artifact.
const (
	maxSignatures = 100
	maxSignature  = 4 << 20 // bytes of one; bundles of long attestations are the largest
	maxCauses     = 3       // that a message repeats
	maxCause      = 300     // characters of each
)

// unsigned says that no signature passes, and why not.
func unsigned(repo *registry.Repository, digest string, causes []error) error {
	name := repo.Name() + "@" + digest
	if len(causes) == 0 {
		return fmt.Errorf("%w for '%s'; it has no signature", ErrUnsigned, name)
	}
	var text strings.Builder
	for i, cause := range causes {
		if i == maxCauses {
			fmt.Fprintf(&text, "; and %d more", len(causes)-i)
			break
		}
		if i > 0 {
			text.WriteString("; ")
		}
		text.WriteString(shortened(cause.Error()))
	}
	return fmt.Errorf("%w for '%s'; %s", ErrUnsigned, name, &text)
}

func shortened(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if len(text) > maxCause {
		return strings.ToValidUTF8(text[:maxCause], "") + "..."
	}
	return text
}
