package release

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// Objects reads the objects of a manifest; lists are taken apart.
func Objects(manifest string) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	// The reader may lose a last line that does not end.
	reader := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(manifest + "\n")))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		text, err := yaml.YAMLToJSON(document)
		if err != nil {
			return nil, err
		}
		u := &unstructured.Unstructured{}
		if err := json.Unmarshal(text, &u.Object); err != nil {
			return nil, err
		}
		if len(u.Object) == 0 {
			continue
		}
		if !u.IsList() {
			out = append(out, u)
			continue
		}
		err = u.EachListItem(func(item runtime.Object) error {
			if one, ok := item.(*unstructured.Unstructured); ok {
				out = append(out, one)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list of kind %s: %w", u.GetKind(), err)
		}
	}
}

// Mapper tells the scope of kinds.
type Mapper interface {
	For(ctx context.Context, gvk schema.GroupVersionKind) (apply.Mapping, error)
}

// Inventory lists the objects of a release: those of its manifest, then the definitions in crds/ of the chart and its
// subcharts. Namespaced objects without a namespace are in that of the release. Unknown are kinds whose scope is not
// known; they are taken as namespaced.
func Inventory(ctx context.Context, m Mapper, namespace, manifest string, c *chart.Chart) (inv apply.Inventory, unknown []schema.GroupVersionKind, err error) {
	objects, err := Objects(manifest)
	if err != nil {
		return nil, nil, fmt.Errorf("read the manifest: %w", err)
	}
	if c != nil {
		for _, crd := range c.CRDObjects() {
			more, err := Objects(string(crd.File.Data))
			if err != nil {
				return nil, nil, fmt.Errorf("read %s: %w", crd.Filename, err)
			}
			for _, o := range more {
				if IsCRD(o) {
					objects = append(objects, o)
				}
			}
		}
	}
	seen := map[apply.ID]bool{}
	for _, o := range objects {
		gvk := o.GroupVersionKind()
		ns := o.GetNamespace()
		mapping, err := m.For(ctx, gvk)
		switch {
		case IsCRD(o), err == nil && !mapping.Namespaced:
			ns = ""
		case err != nil:
			unknown = append(unknown, gvk)
			fallthrough
		default:
			if ns == "" {
				ns = namespace
			}
		}
		id := apply.NewID(ns, o.GetName(), gvk.Group, gvk.Kind)
		if !seen[id] {
			seen[id] = true
			inv = append(inv, apply.Entry{ID: id, Version: gvk.Version})
		}
	}
	return inv, unknown, nil
}

// IsCRD tells whether an object is a CustomResourceDefinition.
func IsCRD(o *unstructured.Unstructured) bool {
	gvk := o.GroupVersionKind()
	return gvk.Group == "apiextensions.k8s.io" && gvk.Kind == "CustomResourceDefinition"
}

// Own puts on an object what Helm puts on it when it is applied.
func Own(o *unstructured.Unstructured, name, namespace string) {
	labels, annotations := o.GetLabels(), o.GetAnnotations()
	if labels == nil {
		labels = map[string]string{}
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	labels["app.kubernetes.io/managed-by"] = "Helm"
	annotations["meta.helm.sh/release-name"], annotations["meta.helm.sh/release-namespace"] = name, namespace
	o.SetLabels(labels)
	o.SetAnnotations(annotations)
}
