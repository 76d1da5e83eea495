// Package value has the values of flags that several commands share: each is checked, and perhaps
// rewritten, when it is set, and names its type as help shows it.
package value

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Checked is a flag whose text is checked when it is set.
type Checked struct {
	text  *string
	kind  string
	check func(string) (string, error)
	// Values are the only ones that it takes; none if it takes any text that passes the check.
	Values []string
}

// String returns the text.
func (c *Checked) String() string {
	if c.text == nil {
		return ""
	}
	return *c.text
}

// Set checks and keeps the text.
func (c *Checked) Set(text string) error {
	text, err := c.check(text)
	if err != nil {
		return err
	}
	*c.text = text
	return nil
}

// Type returns the name that help shows.
func (c *Checked) Type() string { return c.kind }

// Named gives the flag the type name that help shows.
func (c *Checked) Named(kind string) *Checked {
	c.kind = kind
	return c
}

// OneOf is a flag with a few possible values.
func OneOf(into *string, what string, values ...string) *Checked {
	return &Checked{text: into, kind: strings.Join(values, "|"), Values: values, check: func(text string) (string, error) {
		if slices.Contains(values, text) {
			return text, nil
		}
		return "", fmt.Errorf("%s '%s' is not supported, must be one of: %s", what, text, strings.Join(values, ", "))
	}}
}

// SafePath is a path below the root of a source: it never leads out of it.
func SafePath(into *string) *Checked {
	return &Checked{text: into, kind: "safeRelativePath", check: func(text string) (string, error) {
		return "./" + strings.TrimPrefix(path.Clean("/"+strings.TrimSpace(text)), "/"), nil
	}}
}

// RSABits is the size of an RSA key.
type RSABits int

// String returns the number.
func (b *RSABits) String() string { return strconv.Itoa(int(*b)) }

// Set takes numbers that make a key worth having.
func (b *RSABits) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	if n < 1024 || n%8 != 0 {
		return fmt.Errorf("RSA key bit size must be a multiple of 8 and at least 1024, not %d", n)
	}
	*b = RSABits(n)
	return nil
}

// Type returns the name that help shows.
func (b *RSABits) Type() string { return "rsaKeyBits" }

// scpForm is user@host:path.
var scpForm = regexp.MustCompile(`^([\w.-]+@[\w.-]+):([^/].*)$`)

// FromSCP writes user@host:path, as people copy it from their Git host, as the address that it stands for.
func FromSCP(text string) (address string, ok bool) {
	m := scpForm.FindStringSubmatch(text)
	if m == nil {
		return "", false
	}
	return "ssh://" + m[1] + "/" + m[2], true
}
