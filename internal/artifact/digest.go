package artifact

import (
	"crypto/sha1" //nolint:gosec // accepted as input and by --artifact-digest-algo, never the default
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"

	"github.com/zeebo/blake3"
)

// Algorithm is the name of a digest algorithm, as accepted by --artifact-digest-algo.
type Algorithm string

// The algorithms that digests may use.
const (
	SHA1   Algorithm = "sha1"
	SHA256 Algorithm = "sha256"
	SHA384 Algorithm = "sha384"
	SHA512 Algorithm = "sha512"
	BLAKE3 Algorithm = "blake3"
)

// Algorithms lists all known algorithms, the default first.
func Algorithms() []Algorithm {
	return []Algorithm{SHA256, SHA384, SHA512, BLAKE3, SHA1}
}

// ErrUnknownAlgorithm is wrapped by errors about a digest algorithm that is not one of Algorithms.
var ErrUnknownAlgorithm = errors.New("unknown digest algorithm")

// ParseAlgorithm returns the algorithm of this name. Empty is SHA256.
func ParseAlgorithm(name string) (Algorithm, error) {
	switch a := Algorithm(strings.ToLower(name)); a {
	case "":
		return SHA256, nil
	case SHA1, SHA256, SHA384, SHA512, BLAKE3:
		return a, nil
	}
	return "", fmt.Errorf("%w '%s': use one of %v", ErrUnknownAlgorithm, name, Algorithms())
}

// New returns a fresh hash. It panics on an algorithm that ParseAlgorithm does not return.
func (a Algorithm) New() hash.Hash {
	switch a {
	case SHA1:
		return sha1.New() //nolint:gosec // see the import
	case SHA256:
		return sha256.New()
	case SHA384:
		return sha512.New384()
	case SHA512:
		return sha512.New()
	case BLAKE3:
		return blake3.New()
	}
	panic("artifact: hash of unknown algorithm " + string(a))
}

// size is the length of the algorithm's digests in bytes.
func (a Algorithm) size() int {
	switch a {
	case SHA1:
		return sha1.Size
	case SHA384:
		return sha512.Size384
	case SHA512:
		return sha512.Size
	}
	return sha256.Size
}

// Digest is the text <algorithm>:<hex>.
type Digest string

// NewDigest returns the digest that h has computed by the algorithm a.
func NewDigest(a Algorithm, h hash.Hash) Digest {
	return Digest(string(a) + ":" + hex.EncodeToString(h.Sum(nil)))
}

// DigestOf returns the digest of a few bytes.
func DigestOf(a Algorithm, data []byte) Digest {
	h := a.New()
	h.Write(data) //nolint:errcheck // a hash never fails
	return NewDigest(a, h)
}

// ParseDigest checks that text is a digest of a known algorithm with lower-case hex of the right
// length, and so safe to use as a file name.
func ParseDigest(text string) (Digest, error) {
	name, sum, found := strings.Cut(text, ":")
	if !found || name == "" {
		return "", fmt.Errorf("digest '%s' must have the form <algorithm>:<hex>", clip(text))
	}
	a, err := ParseAlgorithm(name)
	if err != nil {
		return "", fmt.Errorf("digest '%s': %w", clip(text), err)
	}
	if string(a) != name || sum != strings.ToLower(sum) {
		return "", fmt.Errorf("digest '%s' must be lower-case", clip(text))
	}
	raw, err := hex.DecodeString(sum)
	if err != nil || len(raw) != a.size() {
		return "", fmt.Errorf("digest '%s' must have %d hexadecimal digits after '%s:'", clip(text), 2*a.size(), a)
	}
	return Digest(text), nil
}

// Algorithm is the part before the colon.
func (d Digest) Algorithm() Algorithm {
	name, _, _ := strings.Cut(string(d), ":")
	return Algorithm(name)
}

// Hex is the part after the colon.
func (d Digest) Hex() string {
	_, sum, _ := strings.Cut(string(d), ":")
	return sum
}

// String returns the digest as text.
func (d Digest) String() string {
	return string(d)
}

// clip keeps hostile text in an error short.
func clip(text string) string {
	const limit = 160
	if len(text) > limit {
		return text[:limit] + "..."
	}
	return text
}
