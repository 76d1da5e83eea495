package registry

import (
	"errors"
	"fmt"
	"strings"
)

// Location is what a URL with a tag or a digest names.
type Location struct {
	// Text is the URL without its prefix, Repository its part without tag and digest.
	Text, Repository string
	// Tag or Digest; DefaultTag when the URL has neither.
	Tag, Digest string
}

// Identifier is the digest, or else the tag.
func (l Location) Identifier() string {
	if l.Digest != "" {
		return l.Digest
	}
	return l.Tag
}

// ParseLocation takes a URL such as oci://host/name:tag or oci://host/name@sha256:<hex> apart.
func ParseLocation(url string) (Location, error) {
	text, ok := strings.CutPrefix(url, URLPrefix)
	if !ok {
		return Location{}, errors.New("URL must be in format 'oci://<domain>/<org>/<repo>'")
	}
	l := Location{Text: text, Repository: text, Tag: DefaultTag}
	if repository, digest, ok := strings.Cut(text, "@"); ok {
		l.Repository, l.Tag, l.Digest = repository, "", digest
		if err := CheckDigest(digest); err != nil {
			return l, fmt.Errorf("invalid URL '%s': %w", url, err)
		}
	}
	slash := strings.LastIndex(l.Repository, "/")
	if colon := strings.LastIndex(l.Repository, ":"); colon > slash && slash >= 0 {
		if l.Digest == "" {
			l.Tag = l.Repository[colon+1:]
		}
		l.Repository = l.Repository[:colon]
	}
	if err := CheckURL(URLPrefix + l.Repository); err != nil {
		return l, fmt.Errorf("invalid URL '%s': %w", url, err)
	}
	return l, nil
}
