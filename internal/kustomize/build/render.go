package build

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/kyaml/resid"
	sigsyaml "sigs.k8s.io/yaml"
)

// kustomizeGroup is the API group of kustomize's own configuration, which is never applied.
const kustomizeGroup = "kustomize.config.k8s.io"

// Key names an object within one build.
type Key struct{ Group, Kind, Namespace, Name string }

// KeyOf returns the key of an object.
func KeyOf(o *unstructured.Unstructured) Key {
	gvk := o.GroupVersionKind()
	return Key{Group: gvk.Group, Kind: gvk.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
}

func keyOf(r *resource.Resource) Key { return keyOfID(r.CurId()) }

func keyOfID(id resid.ResId) Key {
	return Key{Group: id.Group, Kind: id.Kind, Namespace: id.Namespace, Name: id.Name}
}

// piece is one built object: by kustomize, or by an earlier build that the memo knows.
type piece struct {
	resource *resource.Resource // nil when object.known is used
	object   *object            // nil when the whole was built at once
}

func piecesOf(resources []*resource.Resource) []piece {
	pieces := make([]piece, len(resources))
	for i, r := range resources {
		pieces[i].resource = r
	}
	return pieces
}

// rendered is the text of a piece, and what it says.
type rendered struct {
	id     string
	text   []byte
	object *unstructured.Unstructured
}

// render writes a piece as YAML and parses it.
func (p piece) render() (*rendered, error) {
	if p.resource == nil {
		u := &unstructured.Unstructured{}
		err := u.UnmarshalJSON(p.object.known.json)
		gvk := resid.NewGvk(u.GroupVersionKind().Group, u.GroupVersionKind().Version, u.GetKind())
		return &rendered{id: gvk.String() + "/" + u.GetName(), text: p.object.known.text, object: u}, err
	}
	r := p.resource
	if r.GetKind() == "" || r.GetApiVersion() == "" || r.GetName() == "" {
		return nil, fmt.Errorf("failed to decode Kubernetes apiVersion, kind and name from: %s", r.CurId().String())
	}
	id := fmt.Sprintf("%s/%s", r.GetGvk().String(), r.GetName())
	text, err := r.AsYAML()
	if err != nil {
		return nil, fmt.Errorf("failed to render '%s': %w", id, err)
	}
	content, err := sigsyaml.YAMLToJSON(text)
	if err != nil {
		return nil, fmt.Errorf("failed to parse '%s': %w", id, err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(content); err != nil {
		return nil, fmt.Errorf("failed to parse '%s': %w", id, err)
	}
	if p.object != nil {
		p.object.known = &knownObject{text: text, json: content}
	}
	return &rendered{id: id, text: text, object: u}, nil
}

// render writes the built resources as YAML, runs the post-build steps on each, and parses them.
func (b *builder) render(pieces []piece) (*Result, error) {
	result := &Result{}
	files := map[Key]string{}
	var all bytes.Buffer
	for i, p := range pieces {
		file, err := b.fileOf(p)
		if err != nil {
			return nil, err
		}
		text, object, err := b.renderOne(p)
		if err != nil {
			return nil, inFile(err, file)
		}
		if i > 0 {
			all.WriteString("---\n")
		}
		all.Write(text)
		if int64(all.Len()) > b.opts.Limits.OutputSize {
			return nil, fmt.Errorf("the build gives more than %d bytes", b.opts.Limits.OutputSize)
		}
		objects, err := expand(object)
		if err != nil {
			return nil, inFile(err, file)
		}
		for _, o := range objects {
			if file != "" {
				files[KeyOf(o)] = file
			}
			if b.patched {
				b.sensitive[KeyOf(o)] = true
			}
		}
		result.Objects = append(result.Objects, objects...)
	}
	result.YAML = all.Bytes()
	sum := sha256.Sum256(result.YAML)
	result.Digest = "sha256:" + hex.EncodeToString(sum[:])
	b.files = files
	b.memo.keep(allFiles(b.sources), b.surroundings)
	return result, nil
}

// inFile adds the file to an error whose text does not tell it.
func inFile(err error, file string) error {
	if file == "" {
		return &unlocatedError{err}
	}
	return fmt.Errorf("%w (in %s)", err, file)
}

// unlocatedError is about an object whose file is not known.
type unlocatedError struct{ error }

func (e *unlocatedError) Unwrap() error { return e.error }

func (b *builder) renderOne(p piece) ([]byte, *unstructured.Unstructured, error) {
	r, err := p.render()
	if err != nil {
		return nil, nil, err
	}
	id, text, object := r.id, r.text, r.object
	steps := []struct {
		step   Step
		failed string
	}{{b.decryptObject, "decryption failed"}, {b.opts.Substitute, "post build failed"}}
	for _, s := range steps {
		if s.step == nil {
			continue
		}
		changed, err := s.step(b.fsys.ctx, Text{ID: id, Object: object, YAML: text})
		if err != nil {
			return nil, nil, fmt.Errorf("%s for '%s': %w", s.failed, id, err)
		}
		if changed == nil {
			continue
		}
		if object, err = parse(changed); err != nil {
			return nil, nil, fmt.Errorf("%s for '%s': %w%s", s.failed, id, err, culprits(text, err))
		}
		if text, err = sigsyaml.Marshal(object.Object); err != nil {
			return nil, nil, fmt.Errorf("%s for '%s': %w", s.failed, id, err)
		}
	}
	if b.opts.Secret != nil && b.opts.Secret(text) {
		b.sensitive[KeyOf(object)] = true
	}
	return text, object, checkDepth(object.Object, b.opts.Limits.Depth, id)
}

// parse reads one object. An integer stays one, as the API server wants it.
func parse(text []byte) (*unstructured.Unstructured, error) {
	content, err := sigsyaml.YAMLToJSON(text)
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(content); err != nil {
		return nil, err
	}
	return object, nil
}

// expand turns a List into its items and drops what is not meant for the cluster.
func expand(object *unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	if !object.IsList() || !strings.HasSuffix(object.GetKind(), "List") {
		if object.GroupVersionKind().Group == kustomizeGroup || object.GetName() == "" {
			return nil, nil
		}
		return []*unstructured.Unstructured{object}, nil
	}
	var objects []*unstructured.Unstructured
	err := object.EachListItem(func(item runtime.Object) error {
		o, ok := item.(*unstructured.Unstructured)
		if !ok || o.GetKind() == "" || o.GetAPIVersion() == "" {
			return errors.New("an item of a List has no apiVersion or kind")
		}
		expanded, err := expand(o)
		objects = append(objects, expanded...)
		return err
	})
	return objects, err
}

func checkDepth(value any, left int, id string) error {
	if left < 0 {
		return fmt.Errorf("'%s' is nested too deep", id)
	}
	switch v := value.(type) {
	case map[string]any:
		for _, item := range v {
			if err := checkDepth(item, left-1, id); err != nil {
				return err
			}
		}
	case []any:
		for _, item := range v {
			if err := checkDepth(item, left-1, id); err != nil {
				return err
			}
		}
	}
	return nil
}
