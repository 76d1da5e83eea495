package create

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/gitops-toolkit/flux/api/meta"
)

// checked is a flag whose text is checked, and perhaps rewritten, when it is set.
type checked struct {
	text  *string
	kind  string
	check func(string) (string, error)
}

// String returns the text.
func (c *checked) String() string {
	if c.text == nil {
		return ""
	}
	return *c.text
}

// Set checks and keeps the text.
func (c *checked) Set(text string) error {
	text, err := c.check(text)
	if err != nil {
		return err
	}
	*c.text = text
	return nil
}

// Type returns the name that help shows.
func (c *checked) Type() string { return c.kind }

// oneOf is a flag with a few possible values.
func oneOf(into *string, what string, values ...string) *checked {
	return &checked{text: into, kind: strings.Join(values, "|"), check: func(text string) (string, error) {
		for _, value := range values {
			if text == value {
				return text, nil
			}
		}
		return "", fmt.Errorf("%s '%s' is not supported, must be one of: %s", what, text, strings.Join(values, ", "))
	}}
}

// named gives a flag the type name that help shows.
func named(kind string, c *checked) *checked {
	c.kind = kind
	return c
}

// safePath is a path below the root of a source: it never leads out of it.
func safePath(into *string) *checked {
	return &checked{text: into, kind: "safeRelativePath", check: func(text string) (string, error) {
		return "./" + strings.TrimPrefix(path.Clean("/"+strings.TrimSpace(text)), "/"), nil
	}}
}

// rsaBits is the size of an RSA key.
type rsaBits int

// String returns the number.
func (b *rsaBits) String() string { return strconv.Itoa(int(*b)) }

// Set takes numbers that make a key worth having.
func (b *rsaBits) Set(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil {
		return err
	}
	if n < 1024 || n%8 != 0 {
		return fmt.Errorf("RSA key bit size must be a multiple of 8 and at least 1024, not %d", n)
	}
	*b = rsaBits(n)
	return nil
}

// Type returns the name that help shows.
func (b *rsaBits) Type() string { return "rsaKeyBits" }

// reference is [kind/]name[.namespace] as flags take it.
type reference struct {
	kind, name, namespace string
	kinds                 []string // the first is not the default: fallback is
	fallback              string
	typeName, what        string
}

// String returns the text as it was meant.
func (r *reference) String() string {
	if r.name == "" {
		return ""
	}
	text := r.name
	if r.namespace != "" {
		text += "." + r.namespace
	}
	if r.kind != "" {
		text = r.kind + "/" + text
	}
	return text
}

// Set parses the text and checks the kind.
func (r *reference) Set(text string) error {
	if strings.TrimSpace(text) == "" {
		return fmt.Errorf("no %s given, please specify the %[1]s name", r.what)
	}
	kind, name, namespace := splitReference(text)
	if kind == "" {
		kind = r.fallback
	}
	for _, known := range r.kinds {
		if strings.EqualFold(known, kind) {
			r.kind, r.name, r.namespace = known, name, namespace
			return nil
		}
	}
	return fmt.Errorf("%s kind '%s' is not supported, must be one of: %s", r.what, kind, strings.Join(r.kinds, ", "))
}

// Type returns the name that help shows.
func (r *reference) Type() string { return r.typeName }

// splitReference takes [kind/]name[.namespace] apart; a name with several dots has no namespace.
func splitReference(text string) (kind, name, namespace string) {
	kind, name, ok := strings.Cut(text, "/")
	if !ok {
		kind, name = "", text
	}
	if strings.Count(name, ".") == 1 {
		name, namespace, _ = strings.Cut(name, ".")
	}
	return kind, name, namespace
}

// dependencies reads name or namespace/name.
func dependencies(texts []string) []meta.DependencyReference {
	var list []meta.DependencyReference
	for _, text := range texts {
		namespace, name, ok := strings.Cut(text, "/")
		if !ok {
			namespace, name = "", text
		}
		list = append(list, meta.DependencyReference{Name: name, Namespace: namespace})
	}
	return list
}
