// Package manifests holds what we install into a cluster, embedded into the programs that
// install it. The custom resource definitions are made by `make generate`.
package manifests

import (
	"embed"
	"fmt"
	"io/fs"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

//go:embed crds/*.yaml install/*.yaml
var files embed.FS

// Files are the manifests: the definitions below crds/, one file each, and below install/ what an
// installation is built from (package internal/install).
func Files() fs.FS { return files }

// CRDs returns the custom resource definitions of all kinds, sorted by file name. The caller
// may change them.
func CRDs() ([]*unstructured.Unstructured, error) {
	names, err := fs.Glob(files, "crds/*.yaml")
	if err != nil {
		return nil, err
	}
	crds := make([]*unstructured.Unstructured, 0, len(names))
	for _, name := range names {
		data, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		crd := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(data, &crd.Object); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		crds = append(crds, crd)
	}
	return crds, nil
}
