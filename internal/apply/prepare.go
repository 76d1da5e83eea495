package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
)

// Preparation says how desired objects become a Set.
type Preparation struct {
	// Owner's labels are put on every object.
	Owner Owner
	// Labels and Annotations override those of every object, owner labels included.
	Labels      map[string]string
	Annotations map[string]string
	// StageKinds are applied in a stage of their own, before the rest.
	StageKinds []schema.GroupKind
}

// Set is what an owner desires, ready to apply: normalised, labelled, ordered.
type Set struct {
	owner  Owner
	stages [stageCount][]*item
	digest Hash
}

// item is one object of a Set; nothing in it changes after Prepare.
type item struct {
	ref    Ref
	id     ID
	obj    *unstructured.Unstructured
	origin string
	// sensitive is Object.Sensitive.
	sensitive bool
	hash      Hash
	// unknown are the paths of fields that its kind does not have; they are not in obj any more.
	unknown []string
}

// UnknownField is a field of a desired object that its kind does not have and that was dropped.
type UnknownField struct {
	Ref
	// File is where the object came from, empty when unknown.
	File string
	// Path is the field, for instance spec.containers[0].imge.
	Path string
}

// String says what happened and what to do about it.
func (f UnknownField) String() string {
	return fmt.Sprintf("%s: unknown field %s%s was ignored; correct or remove it", f.Subject(), f.Path, inFile(f.File))
}

// UnknownFields lists what was dropped from built-in kinds, in apply order. Custom resources are not
// looked at: the server refuses theirs.
func (s *Set) UnknownFields() []UnknownField {
	var out []UnknownField
	for _, it := range s.items() {
		for _, path := range it.unknown {
			out = append(out, UnknownField{Ref: it.ref, File: it.origin, Path: path})
		}
	}
	return out
}

// Prepare turns desired objects into a Set. The objects are changed in place and belong to the Set
// afterwards. It asks client only for the scope of kinds, which is cached.
//
// Errors: EncryptedSecretError, and one that names both files when two objects have the same id.
func Prepare(ctx context.Context, client *Client, objects []Object, p Preparation) (*Set, error) {
	scopes := definedScopes(objects)
	set := &Set{owner: p.Owner}
	seen := make(map[ID]*item, len(objects))
	var errs []error
	for _, o := range objects {
		it, err := prepareOne(ctx, client, o, p, scopes)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if had := seen[it.id]; had != nil {
			errs = append(errs, fmt.Errorf("%s is desired twice%s: keep one of them", it.ref.Subject(), bothOrigins(had, it)))
			continue
		}
		seen[it.id] = it
		s := stageOf(it.ref.GroupKind(), p.StageKinds)
		set.stages[s] = append(set.stages[s], it)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	set.finish()
	return set, nil
}

func prepareOne(ctx context.Context, client *Client, o Object, p Preparation, scopes map[schema.GroupKind]bool) (*item, error) {
	ref := RefOf(o.Unstructured)
	if ref.Kind == "" || ref.Version == "" || ref.Name == "" {
		return nil, fmt.Errorf("an object lacks apiVersion, kind or name: %s %s%s", ref.GroupVersionKind, ref.Name, inFile(o.Origin))
	}
	namespaced, known, err := scopeOf(ctx, client, ref.GroupVersionKind, scopes)
	if err != nil {
		return nil, err
	}
	if known && !namespaced && ref.Namespace != "" {
		ref.Namespace = ""
		unstructured.RemoveNestedField(o.Object, "metadata", "namespace")
	}
	if err := guardEncrypted(o, ref, p.Owner); err != nil {
		return nil, err
	}
	if !Policies(p.Owner.Group).merge(o.Unstructured) {
		dropLeftovers(o.Unstructured)
	}
	unknown := normalise(o.Unstructured)
	p.Label(o.Unstructured)
	return &item{ref: ref, id: ref.ID(), obj: o.Unstructured, origin: o.Origin, sensitive: o.Sensitive, hash: desiredHash(o.Unstructured), unknown: unknown}, nil
}

// definedScopes reads from the CRDs of the set which of its own kinds are namespaced.
func definedScopes(objects []Object) map[schema.GroupKind]bool {
	scopes := map[schema.GroupKind]bool{}
	for _, o := range objects {
		if o.GetKind() != "CustomResourceDefinition" {
			continue
		}
		group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
		scope, _, _ := unstructured.NestedString(o.Object, "spec", "scope")
		scopes[schema.GroupKind{Group: group, Kind: kind}] = scope == "Namespaced"
	}
	return scopes
}

// scopeOf says whether a kind is namespaced; a kind that nobody knows is left to the dry-run, whose
// error will name the object.
func scopeOf(ctx context.Context, client *Client, gvk schema.GroupVersionKind, scopes map[schema.GroupKind]bool) (namespaced, known bool, err error) {
	if namespaced, ok := scopes[gvk.GroupKind()]; ok {
		return namespaced, true, nil
	}
	m, err := client.mapper.For(ctx, gvk)
	if meta.IsNoMatchError(err) {
		return false, false, nil
	}
	return m.Namespaced, err == nil, err
}

// guardEncrypted refuses what is still encrypted. A custom kind may mean to be so, for an operator that decrypts it.
func guardEncrypted(o Object, ref Ref, owner Owner) error {
	if Policies(owner.Group).encrypted(o.Unstructured) || !scheme.Scheme.Recognizes(ref.GroupVersionKind) {
		return nil
	}
	_, envelope := o.Object["sops"]
	holder := ref.Group == "" && (ref.Kind == "Secret" || ref.Kind == "ConfigMap")
	if !envelope && !(holder && (sealed(o.Object["data"]) || sealed(o.Object["stringData"]))) {
		return nil
	}
	return &EncryptedSecretError{Ref: ref, Origin: o.Origin}
}

// Sealed begins every value that SOPS encrypted.
const Sealed = "ENC[AES256_GCM,"

// sealed tells whether a value is what SOPS encrypted: in an item, say, of a List that was encrypted as a whole, or in a
// ConfigMap that was generated from an encrypted file of variables.
func sealed(data any) bool {
	values, _ := data.(map[string]any)
	for _, value := range values {
		if text, ok := value.(string); ok && strings.HasPrefix(text, Sealed) {
			return true
		}
	}
	return false
}

// Label puts the labels and annotations on an object.
func (p Preparation) Label(u *unstructured.Unstructured) {
	if l := merged(u.GetLabels(), p.Owner.Labels(), p.Labels); len(l) > 0 {
		u.SetLabels(l)
	}
	if a := merged(u.GetAnnotations(), p.Annotations); len(a) > 0 {
		u.SetAnnotations(a)
	}
}

func merged(layers ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, l := range layers {
		for k, v := range l {
			out[k] = v
		}
	}
	return out
}

func bothOrigins(a, b *item) string {
	if a.origin == "" && b.origin == "" {
		return ""
	}
	return fmt.Sprintf(", in %s and in %s", orUnknown(a.origin), orUnknown(b.origin))
}

func orUnknown(s string) string {
	if s == "" {
		return "an unknown file"
	}
	return s
}

func inFile(origin string) string {
	if origin == "" {
		return ""
	}
	return " in " + origin
}

// finish orders the stages and computes the digest.
func (s *Set) finish() {
	hashes := make([]string, 0, 64)
	for i := range s.stages {
		slices.SortStableFunc(s.stages[i], func(a, b *item) int { return compareRefs(a.ref, b.ref) })
		for _, it := range s.stages[i] {
			hashes = append(hashes, string(it.id), it.hash.String())
		}
	}
	s.digest = hashJSON("set/1", hashes)
}

// Digest identifies what is desired, stages and order included: two builds with equal digests apply
// the same.
func (s *Set) Digest() Hash { return s.digest }

// Len returns the number of objects.
func (s *Set) Len() int {
	n := 0
	for _, st := range s.stages {
		n += len(st)
	}
	return n
}

// Inventory returns the entries of the set in apply order.
func (s *Set) Inventory() Inventory {
	inv := make(Inventory, 0, s.Len())
	for _, it := range s.items() {
		inv = append(inv, Entry{ID: it.id, Version: it.ref.Version})
	}
	return inv
}

// Hashes returns the desired hash of every object.
func (s *Set) Hashes() map[ID]Hash {
	out := make(map[ID]Hash, s.Len())
	for _, it := range s.items() {
		out[it.id] = it.hash
	}
	return out
}

// Objects returns the desired objects in apply order; they must not be changed.
func (s *Set) Objects() []Object {
	out := make([]Object, 0, s.Len())
	for _, it := range s.items() {
		out = append(out, Object{Unstructured: it.obj, Origin: it.origin, Sensitive: it.sensitive})
	}
	return out
}

func (s *Set) items() []*item {
	out := make([]*item, 0, 16)
	for _, st := range s.stages {
		out = append(out, st...)
	}
	return out
}
