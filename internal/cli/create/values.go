package create

import (
	"fmt"
	"strings"

	"github.com/gitops-toolkit/flux/api/meta"
)

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

// Kinds returns what it may refer to, for completion.
func (r *reference) Kinds() []string { return r.kinds }

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
