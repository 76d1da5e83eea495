// Package kinds is the registry from which the command line is made: one description for each
// kind of object, and the verbs read everything they need from it. A new kind, or a new verb
// for a kind, is a few declarative lines here.
package kinds

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/cli/cluster"
)

// Verb says which generic commands a kind has.
type Verb uint

// The generic verbs.
const (
	Get Verb = 1 << iota
	Export
	Suspend // and resume
	Reconcile
	Delete
)

// Ref points from one object to another.
type Ref struct {
	Kind      string
	Name      string
	Namespace string
}

// String returns Kind/namespace/name.
func (r Ref) String() string { return r.Kind + "/" + r.Namespace + "/" + r.Name }

// Column is a column of the kind's table.
type Column struct {
	Title string
	Cell  func(meta.Object) string
}

// Kind describes one kind to all verbs.
type Kind struct {
	cluster.Resource
	// New returns an empty object.
	New func() meta.Object

	// Path holds the words below a verb, Lists those below get.
	Path  string
	Lists string
	// Aliases stand for the last word of Path, ListAliases for that of Lists.
	Aliases     []string
	ListAliases []string
	// Human is what messages call one object.
	Human string
	Verbs Verb

	// Columns are those between Name and Ready.
	Columns []Column
	// ShortHex cuts long digests in revision and message to eight characters.
	ShortHex bool
	// Static is the message of objects that are ready as soon as they exist: it returns ""
	// for those that have a status to wait for.
	Static func(meta.Object) string
	// Outcome is the last line after a reconciliation.
	Outcome func(meta.Object) string
	// Sources returns what is reconciled before the object with --with-source, in order; nil
	// for kinds without that flag.
	Sources func(meta.Object) []Ref
	// Related returns what else events --for shows, where that is not Sources.
	Related func(meta.Object) []Ref
	// ShowSource adds the Source column on --show-source; nil for kinds without that flag.
	ShowSource func(meta.Object) Ref
	// Secret names the Secret that export --with-credentials adds.
	Secret func(meta.Object) string
	// SuspendedBy is the annotation that suspends objects, and its value; for kinds without spec.suspend.
	SuspendedBy [2]string
	// Tokens are annotations that reconcile sets beside requestedAt, by flag.
	Tokens []Token
}

// Token is a reconcile flag that sets one more annotation to the request's token.
type Token struct {
	Flag       string
	Usage      string
	Annotation string
}

// RelatedTo returns the objects whose events explain those of obj.
func (k *Kind) RelatedTo(obj meta.Object) []Ref {
	switch {
	case k.Related != nil:
		return k.Related(obj)
	case k.Sources != nil:
		return k.Sources(obj)
	}
	return nil
}

// Has reports whether the kind has a verb.
func (k *Kind) Has(v Verb) bool { return k.Verbs&v != 0 }

// Decode reads an object from JSON.
func (k *Kind) Decode(raw json.RawMessage) (meta.Object, error) {
	obj := k.New()
	if err := json.Unmarshal(raw, obj); err != nil {
		return nil, fmt.Errorf("decode a %s: %w", k.Kind, err)
	}
	return obj, nil
}

// All returns every kind, in the order in which documents list them.
func All() []*Kind { return slices.Clone(registered) }

// ByKind finds a kind by its name in whatever case, or by a word that commands use for it.
func ByKind(name string) *Kind {
	for _, k := range registered {
		if strings.EqualFold(k.Kind, name) {
			return k
		}
	}
	for _, k := range registered {
		if slices.Contains(k.Aliases, name) || k.Plural == strings.ToLower(name) {
			return k
		}
	}
	return nil
}

// ByPath finds a kind by its words below a verb.
func ByPath(path string) *Kind {
	for _, k := range registered {
		if k.Path == path {
			return k
		}
	}
	return nil
}

var registered []*Kind

func register(list ...*Kind) { registered = append(registered, list...) }

// on adapts a function of one type to all objects.
func on[T any, R any](f func(*T) R) func(meta.Object) R {
	return func(obj meta.Object) R { return f(any(obj).(*T)) }
}

// newOf returns a constructor of the type.
func newOf[T any, P interface {
	*T
	meta.Object
}]() func() meta.Object {
	return func() meta.Object { return P(new(T)) }
}
