package apply

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Hash is a truncated SHA-256; the zero value means "not known".
type Hash [16]byte

// String returns the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether the hash is not known.
func (h Hash) IsZero() bool { return h == Hash{} }

// hashJSON hashes the canonical JSON of a value: maps are sorted by encoding/json.
func hashJSON(salt string, values ...any) Hash {
	d := sha256.New()
	d.Write([]byte(salt))
	enc := json.NewEncoder(d)
	for _, v := range values {
		if err := enc.Encode(v); err != nil {
			// Only values decoded from JSON come here, and those always encode.
			panic("apply: hash of a value that is not JSON: " + err.Error())
		}
	}
	var h Hash
	copy(h[:], d.Sum(nil))
	return h
}

// desiredHash identifies what is sent for an object; the salt changes when what Apply does with
// the same object changes, so that a new program looks again.
func desiredHash(u *unstructured.Unstructured) Hash {
	return hashJSON("desired/1", u.Object)
}

// comparable returns the part of an object whose difference is drift: labels, annotations and
// all but metadata and status. It shares the values of u.
func comparable(u *unstructured.Unstructured) map[string]any {
	out := maps.Clone(u.Object)
	for _, key := range []string{"metadata", "status", "apiVersion", "kind"} {
		delete(out, key)
	}
	out["labels"] = u.GetLabels()
	out["annotations"] = u.GetAnnotations()
	return out
}

func contentHash(u *unstructured.Unstructured) Hash {
	return hashJSON("content/1", comparable(u))
}

// EntryHash identifies a manager's own Apply entry for the main resource, with its time; it is
// zero when there is none.
func EntryHash(obj metav1.Object, manager string) Hash {
	e := entryOf(obj.GetManagedFields(), manager)
	if e == nil {
		return Hash{}
	}
	when := ""
	if e.Time != nil {
		when = e.Time.UTC().Format("2006-01-02T15:04:05Z")
	}
	d := sha256.New()
	d.Write([]byte("entry/1\n" + e.APIVersion + "\n" + when + "\n"))
	if e.FieldsV1 != nil {
		d.Write(e.FieldsV1.GetRawBytes())
	}
	var h Hash
	copy(h[:], d.Sum(nil))
	return h
}

// MetaHash identifies the labels and annotations that a manager's own Apply entry owns, with their
// values: the one part of an entry's fields whose values metadata alone can show.
func MetaHash(obj metav1.Object, manager string) Hash {
	e := entryOf(obj.GetManagedFields(), manager)
	if e == nil || e.FieldsV1 == nil {
		return Hash{}
	}
	var fields struct {
		Metadata struct {
			Labels      map[string]json.RawMessage `json:"f:labels"`
			Annotations map[string]json.RawMessage `json:"f:annotations"`
		} `json:"f:metadata"`
	}
	if err := json.Unmarshal(e.FieldsV1.GetRawBytes(), &fields); err != nil {
		return Hash{}
	}
	return hashJSON("meta/1", owned(fields.Metadata.Labels, obj.GetLabels()), owned(fields.Metadata.Annotations, obj.GetAnnotations()))
}

func owned(fields map[string]json.RawMessage, values map[string]string) map[string]string {
	out := make(map[string]string, len(fields))
	for f := range fields {
		if key, ok := strings.CutPrefix(f, "f:"); ok {
			out[key] = values[key]
		}
	}
	return out
}

// UpdatesAsApplies returns managedFields in which a manager's updates of the main resource count as applies, where it has
// made none of these: what is written from the client's side can then be followed like the rest.
func UpdatesAsApplies(entries []metav1.ManagedFieldsEntry, manager string) []metav1.ManagedFieldsEntry {
	if entryOf(entries, manager) != nil {
		return entries
	}
	out := slices.Clone(entries)
	for i := range out {
		if e := &out[i]; e.Manager == manager && e.Subresource == "" {
			e.Operation = metav1.ManagedFieldsOperationApply
		}
	}
	return out
}

func entryOf(entries []metav1.ManagedFieldsEntry, manager string) *metav1.ManagedFieldsEntry {
	for i := range entries {
		e := &entries[i]
		if e.Manager == manager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == "" {
			return e
		}
	}
	return nil
}
