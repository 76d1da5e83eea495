package install

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// singleName is the name of the Deployment of the single topology.
const singleName = "flux-controller"

const componentLabel = "app.kubernetes.io/component"

// component is a row of install/components.yaml.
type component struct {
	Name      string   `json:"name"`
	Prefix    string   `json:"prefix"`
	CRDs      []string `json:"crds"`
	AppliesAs bool     `json:"appliesAs"`
}

// bundle is a base, read.
type bundle struct {
	files      fs.FS
	components []component
	crds       map[string]*unstructured.Unstructured
}

func readBundle(files fs.FS) (*bundle, error) {
	b := &bundle{files: files, crds: map[string]*unstructured.Unstructured{}}
	index, err := fs.ReadFile(files, "install/components.yaml")
	if err != nil {
		return nil, fmt.Errorf("these are no manifests of an installation: %w", err)
	}
	if err := yaml.UnmarshalStrict(index, &b.components); err != nil {
		return nil, fmt.Errorf("install/components.yaml: %w", err)
	}
	names, err := fs.Glob(files, "crds/*.yaml")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		objects, err := readObjects(files, name)
		if err != nil {
			return nil, err
		}
		for _, crd := range objects {
			b.crds[crd.GetName()] = crd
		}
	}
	return b, nil
}

// find returns the rows of the components asked for, in the order in which they are installed.
func (b *bundle) find(names []string) ([]component, error) {
	for _, name := range names {
		if !slices.ContainsFunc(b.components, func(c component) bool { return c.Name == name }) {
			return nil, fmt.Errorf("component %s is not available", name)
		}
	}
	var out []component
	for _, c := range b.components {
		if slices.Contains(names, c.Name) {
			out = append(out, c)
		}
	}
	return out, nil
}

// known tells whether a component of this name exists, chosen or not.
func (b *bundle) known(name string) bool {
	return slices.ContainsFunc(b.components, func(c component) bool { return c.Name == name })
}

func (b *bundle) read(name string) ([]*unstructured.Unstructured, error) {
	return readObjects(b.files, path.Join("install", name+".yaml"))
}

// definitions returns copies of the CRDs of a component.
func (b *bundle) definitions(c component) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for _, name := range c.CRDs {
		crd := b.crds[name]
		if crd == nil {
			return nil, fmt.Errorf("component %s needs the definition %s, which the manifests lack", c.Name, name)
		}
		crd = crd.DeepCopy()
		setLabel(crd, componentLabel, c.Name)
		out = append(out, crd)
	}
	return out, nil
}

// readObjects decodes all documents of a file.
func readObjects(files fs.FS, name string) ([]*unstructured.Unstructured, error) {
	data, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		obj := &unstructured.Unstructured{}
		err := decoder.Decode(&obj.Object)
		switch {
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("%s: document %d: %w", name, len(out)+1, err)
		case len(obj.Object) > 0:
			out = append(out, obj)
		}
	}
}

func setLabel(obj *unstructured.Unstructured, key, value string) {
	labels := obj.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels[key] = value
	obj.SetLabels(labels)
}
