// Package lfs reads large files of Git that are kept beside the repository (Git LFS, its batch API with the basic
// transfer). In the repository stands a small text for each, a pointer.
package lfs

//lint:file-ignore ST1005 these errors begin with names

import (
	"bufio"
	"bytes"
	"errors"
	"regexp"
	"strconv"
	"strings"
)

// MaxPointer is the length in bytes that no pointer reaches.
const MaxPointer = 1024

// version begins every pointer.
const version = "version https://git-lfs.github.com/spec/v1"

// Pointer names the content of a large file.
type Pointer struct {
	// OID is the SHA-256 of the content, 64 hexadecimal digits.
	OID string
	// Size of the content in bytes.
	Size int64
}

// ErrExtension says that a pointer asks for programs that the content has to pass through.
var ErrExtension = errors.New("Git LFS extensions are not supported")

var oid = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Parse reads a pointer; ok is false for any other text. The error is ErrExtension.
func Parse(text []byte) (p Pointer, ok bool, err error) {
	if len(text) >= MaxPointer || !bytes.HasPrefix(text, []byte(version)) {
		return p, false, nil
	}
	sized := false
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 0; lines.Scan(); n++ {
		key, value, found := strings.Cut(lines.Text(), " ")
		switch {
		case n == 0 && lines.Text() == version:
		case n == 0 || !found:
			return Pointer{}, false, nil
		case strings.HasPrefix(key, "ext-"):
			err = ErrExtension
		case key == "oid":
			sum, isSHA := strings.CutPrefix(value, "sha256:")
			if !isSHA || !oid.MatchString(sum) || p.OID != "" {
				return Pointer{}, false, nil
			}
			p.OID = sum
		case key == "size":
			size, bad := strconv.ParseInt(value, 10, 64)
			if bad != nil || size < 0 || sized {
				return Pointer{}, false, nil
			}
			p.Size, sized = size, true
		}
	}
	if p.OID == "" || !sized {
		return Pointer{}, false, nil
	}
	return p, true, err
}
