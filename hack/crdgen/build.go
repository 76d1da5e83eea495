package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// anyFormat marks a value of any shape in the output of controller-gen; see meta.JSON.
const anyFormat = "any-json"

// build reads controller-gen's definitions and adds the older versions to each.
func build(in, api string) ([]*extv1.CustomResourceDefinition, error) {
	files, err := filepath.Glob(filepath.Join(in, "*.yaml"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no definitions in %q: run hack/generate.sh, which makes them first", in)
	}
	crds := make([]*extv1.CustomResourceDefinition, 0, len(files))
	for _, file := range files {
		crd, err := readCRD(file)
		if err != nil {
			return nil, err
		}
		if err := addLegacy(crd, api); err != nil {
			return nil, err
		}
		crds = append(crds, crd)
	}
	return crds, nil
}

func readCRD(file string) (*extv1.CustomResourceDefinition, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	crd := &extv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(data, crd); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for i := range crd.Spec.Versions {
		openAny(crd.Spec.Versions[i].Schema.OpenAPIV3Schema)
	}
	return crd, nil
}

// openAny turns the marked strings into values of any shape.
func openAny(s *extv1.JSONSchemaProps) {
	if s.Format == anyFormat {
		yes := true
		*s = extv1.JSONSchemaProps{Description: s.Description, XPreserveUnknownFields: &yes}
		return
	}
	for name, p := range s.Properties {
		openAny(&p)
		s.Properties[name] = p
	}
	if s.Items != nil {
		openAny(s.Items.Schema)
	}
	if isMap(*s) {
		openAny(s.AdditionalProperties.Schema)
	}
}

// addLegacy puts the older versions before the current one, as their names sort.
func addLegacy(crd *extv1.CustomResourceDefinition, api string) error {
	group, _, _ := strings.Cut(crd.Spec.Group, ".")
	file := filepath.Join(api, group, "legacy", strings.ToLower(crd.Spec.Names.Kind)+".txt")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	current := crd.Spec.Versions[len(crd.Spec.Versions)-1]
	old, err := parseLegacy(string(text), current.Schema.OpenAPIV3Schema)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, v := range old {
		if err := checkStored(v, current); err != nil {
			return fmt.Errorf("%s: version %s: %w", file, v.Name, err)
		}
	}
	crd.Spec.Versions = append(crd.Spec.Versions, old...)
	return nil
}

// checkStored fails if the storage version would drop a field of an older one. Kinds whose
// current version has no status keep none.
func checkStored(old, current extv1.CustomResourceDefinitionVersion) error {
	known := map[string]string{}
	for _, f := range flatten(current.Schema.OpenAPIV3Schema) {
		known[f.Path] = f.Type
	}
	for _, f := range flatten(old.Schema.OpenAPIV3Schema) {
		if _, ok := known["status"]; !ok && strings.HasPrefix(f.Path, "status") {
			continue
		}
		if typ, ok := known[f.Path]; !ok || typ != f.Type {
			return fmt.Errorf("%s (%s) would be lost: the Go type has %q there; add the field, marked deprecated", f.Path, f.Type, typ)
		}
	}
	return nil
}

// writeCRDs writes one file for each definition and removes those of kinds that are gone.
func writeCRDs(dir string, crds []*extv1.CustomResourceDefinition) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	want := map[string]bool{}
	for _, crd := range crds {
		file := filepath.Join(dir, crd.Spec.Group+"_"+crd.Spec.Names.Plural+".yaml")
		want[file] = true
		data, err := encode(crd)
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, data, 0o644); err != nil {
			return err
		}
	}
	for _, file := range old {
		if !want[file] {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	return nil
}

// encode is YAML without the status, which belongs to the API server.
func encode(crd *extv1.CustomResourceDefinition) ([]byte, error) {
	data, err := yaml.Marshal(crd)
	if err != nil {
		return nil, err
	}
	spec, _, _ := bytes.Cut(data, []byte("\nstatus:\n"))
	return append(bytes.TrimRight(spec, "\n"), '\n'), nil
}
