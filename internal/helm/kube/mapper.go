package kube

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/internal/apply"
)

// mapper is the shared mapping as apimachinery's interface.
type mapper struct{ shared *apply.Mapper }

func (c *Cluster) mapper() meta.RESTMapper { return mapper{c.apply.Mapper()} }

// RESTMapping returns the mapping of a kind in one of the versions, in any where none is named.
func (m mapper) RESTMapping(gk schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	var last error
	for _, v := range versions {
		if v == "" {
			continue
		}
		got, err := m.shared.For(context.Background(), gk.WithVersion(v))
		if err == nil {
			return asRESTMapping(gk.WithVersion(v), got), nil
		}
		last = err
	}
	if last != nil {
		return nil, last
	}
	got, err := m.shared.ForKind(context.Background(), gk.WithVersion(""))
	if err != nil {
		return nil, err
	}
	return asRESTMapping(gk.WithVersion(got.Resource.Version), got), nil
}

func asRESTMapping(gvk schema.GroupVersionKind, m apply.Mapping) *meta.RESTMapping {
	out := &meta.RESTMapping{Resource: m.Resource, GroupVersionKind: gvk, Scope: meta.RESTScopeRoot}
	if m.Namespaced {
		out.Scope = meta.RESTScopeNamespace
	}
	return out
}

// RESTMappings returns the one mapping that there is.
func (m mapper) RESTMappings(gk schema.GroupKind, versions ...string) ([]*meta.RESTMapping, error) {
	got, err := m.RESTMapping(gk, versions...)
	if err != nil {
		return nil, err
	}
	return []*meta.RESTMapping{got}, nil
}

// errByKind says that resources are looked up by kind only: manifests name kinds.
var errByKind = errors.New("resources are looked up by kind only")

// KindFor is not supported.
func (m mapper) KindFor(schema.GroupVersionResource) (schema.GroupVersionKind, error) {
	return schema.GroupVersionKind{}, errByKind
}

// KindsFor is not supported.
func (m mapper) KindsFor(schema.GroupVersionResource) ([]schema.GroupVersionKind, error) {
	return nil, errByKind
}

// ResourceFor is not supported.
func (m mapper) ResourceFor(schema.GroupVersionResource) (schema.GroupVersionResource, error) {
	return schema.GroupVersionResource{}, errByKind
}

// ResourcesFor is not supported.
func (m mapper) ResourcesFor(schema.GroupVersionResource) ([]schema.GroupVersionResource, error) {
	return nil, errByKind
}

// ResourceSingularizer returns its argument.
func (m mapper) ResourceSingularizer(r string) (string, error) { return r, nil }
