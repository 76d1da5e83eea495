package build

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"

	"sigs.k8s.io/kustomize/kyaml/resid"

	"github.com/gitops-toolkit/flux/internal/version"
)

// Memo keeps, from one build to the next, what files were rendered to, so that a large build renders only those that
// changed. What it is given is from before decryption and substitution and has no Secrets: no more than the artifact
// itself. It is asked by digest and content, so what it returns may be from any build, or nothing.
type Memo interface {
	Load() []byte
	Store(content []byte)
}

// knownObject is an object as kustomize rendered it once.
type knownObject struct {
	// surroundings is the digest of what the object could refer to, where that counts.
	surroundings [sha256.Size]byte
	// text is empty when the object is only for local use.
	text, json []byte
}

// memo is the content of a Memo: the objects of files by the digest of the file.
type memo struct {
	store Memo
	key   [sha256.Size]byte
	files map[[sha256.Size]byte][]byte
}

// memoKey identifies what a rendered file depends on, beside its content.
func (b *builder) memoKey() [sha256.Size]byte {
	content, err := json.Marshal([]any{"parts/3", version.Version, b.namespace, b.opts.Limits})
	if err != nil {
		panic(err) // plain data always encodes
	}
	return sha256.Sum256(content)
}

// openMemo reads a memo; one that is for another key, or not readable, is empty.
func openMemo(store Memo, key [sha256.Size]byte) *memo {
	if store == nil {
		return nil
	}
	m := &memo{store: store, key: key, files: map[[sha256.Size]byte][]byte{}}
	r := &reader{rest: store.Load()}
	if r.digest() != key {
		return m
	}
	for len(r.rest) > 0 && r.err == nil {
		sum, objects := r.digest(), r.bytes()
		if r.err == nil {
			m.files[sum] = objects
		}
	}
	return m
}

// find returns the objects of a file with the same content.
func (m *memo) find(file *manifest) ([]*object, bool) {
	if m == nil {
		return nil, false
	}
	content, ok := m.files[file.sum]
	if !ok {
		return nil, false
	}
	r := &reader{rest: content}
	var objects []*object
	for len(r.rest) > 0 && r.err == nil {
		gvk := resid.NewGvk(r.text(), r.text(), r.text())
		o := &object{id: resid.NewResIdWithNamespace(gvk, r.text(), r.text()), file: file}
		o.known = &knownObject{surroundings: r.digest(), text: r.bytes(), json: r.bytes()}
		objects = append(objects, o)
	}
	return objects, r.err == nil
}

// keep stores what was rendered. Files with a Secret are left out.
func (m *memo) keep(files []*manifest, surroundings [sha256.Size]byte) {
	if m == nil {
		return
	}
	content := append([]byte(nil), m.key[:]...)
	for _, file := range files {
		objects, ok := encodeObjects(file.objects, surroundings)
		if !ok {
			continue
		}
		content = append(content, file.sum[:]...)
		content = appendBytes(content, objects)
	}
	m.store.Store(content)
}

func encodeObjects(objects []*object, surroundings [sha256.Size]byte) ([]byte, bool) {
	var out []byte
	for _, o := range objects {
		if o.id.Kind == "Secret" || o.known == nil {
			return nil, false
		}
		for _, text := range []string{o.id.Group, o.id.Version, o.id.Kind, o.id.Name, o.id.Namespace} {
			out = appendBytes(out, []byte(text))
		}
		out = append(out, surroundings[:]...)
		out = appendBytes(out, o.known.text)
		out = appendBytes(out, o.known.json)
	}
	return out, true
}

func appendBytes(to, content []byte) []byte {
	return append(binary.AppendUvarint(to, uint64(len(content))), content...)
}

var errShort = errors.New("the memo ends early")

// reader reads what appendBytes wrote. It shares the bytes.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) take(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.rest)) {
		r.err = errShort
		return nil
	}
	out := r.rest[:n:n]
	r.rest = r.rest[n:]
	return out
}

func (r *reader) bytes() []byte {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.err = errShort
		return nil
	}
	r.rest = r.rest[size:]
	return r.take(n)
}

func (r *reader) text() string { return string(r.bytes()) }

func (r *reader) digest() (sum [sha256.Size]byte) {
	copy(sum[:], r.take(sha256.Size))
	return sum
}
