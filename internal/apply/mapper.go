package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
)

// Mapping tells where the server keeps a kind.
type Mapping struct {
	Resource   schema.GroupVersionResource
	Namespaced bool
}

// Mapper is the REST mapping of one cluster: read with two aggregated discovery requests when first
// needed, and again when a kind is asked for that it does not know. It is safe for concurrent use.
type Mapper struct {
	discovery discovery.DiscoveryInterface
	flight    singleflight.Group
	now       func() time.Time

	mu        sync.RWMutex
	kinds     map[schema.GroupVersionKind]Mapping
	preferred map[schema.GroupKind]string
	failed    map[schema.GroupVersion]error // what discovery could not read this time
	read      time.Time
}

// refreshGap bounds how often unknown kinds make the mapper ask the server again. It is short,
// because a kind that appeared meanwhile must be found by the next pass.
const refreshGap = time.Second

func newMapper(cfg *rest.Config) (*Mapper, error) {
	d, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, err
	}
	return &Mapper{discovery: d, now: time.Now}, nil
}

// For returns the mapping of a kind. An unknown kind is looked up again; if the server does not
// serve it, the error is a meta.NoKindMatchError.
func (m *Mapper) For(ctx context.Context, gvk schema.GroupVersionKind) (Mapping, error) {
	if got, ok := m.lookup(gvk); ok {
		return got, nil
	}
	if err := m.refresh(ctx); err != nil {
		return Mapping{}, err
	}
	if got, ok := m.lookup(gvk); ok {
		return got, nil
	}
	// A group whose server is down is not a kind that is gone: prune must not take it for deleted.
	if err := m.failure(gvk.Group); err != nil {
		return Mapping{}, err
	}
	return Mapping{}, &meta.NoKindMatchError{GroupKind: gvk.GroupKind(), SearchedVersions: []string{gvk.Version}}
}

func (m *Mapper) failure(group string) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for gv, err := range m.failed {
		if gv.Group == group {
			return fmt.Errorf("discover the kinds of %s: %w", gv, err)
		}
	}
	return nil
}

// ForKind is For with the version as a wish: where it is gone, the preferred version serves.
func (m *Mapper) ForKind(ctx context.Context, gvk schema.GroupVersionKind) (Mapping, error) {
	got, err := m.For(ctx, gvk)
	if !meta.IsNoMatchError(err) {
		return got, err
	}
	m.mu.RLock()
	version, ok := m.preferred[gvk.GroupKind()]
	m.mu.RUnlock()
	if !ok || version == gvk.Version {
		return Mapping{}, err
	}
	return m.For(ctx, gvk.GroupKind().WithVersion(version))
}

// Preferred returns a version in which the kind is served, empty when none is known yet.
func (m *Mapper) Preferred(gk schema.GroupKind) string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.preferred[gk]
}

// Alike returns the apiVersions and kinds, as "apps/v1 Deployment", that the server has in the place of a kind that it
// does not know: the same kind in other versions, else what has the same name in any case or in another group.
func (m *Mapper) Alike(gvk schema.GroupVersionKind) []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	write := func(gk schema.GroupKind) string {
		return schema.GroupVersion{Group: gk.Group, Version: m.preferred[gk]}.String() + " " + gk.Kind
	}
	if _, same := m.preferred[gvk.GroupKind()]; same {
		return []string{write(gvk.GroupKind())}
	}
	var found []string
	for gk := range m.preferred {
		if strings.EqualFold(gk.Kind, gvk.Kind) {
			found = append(found, write(gk))
		}
	}
	slices.Sort(found)
	return found
}

// Plural returns the resource name of the kind, empty when it is not known yet.
func (m *Mapper) Plural(gk schema.GroupKind) string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.kinds[gk.WithVersion(m.preferred[gk])].Resource.Resource
}

// Learn adds the kinds of a CustomResourceDefinition, so that its resources can be addressed
// without another discovery.
func (m *Mapper) Learn(crd *unstructured.Unstructured) {
	var d apiextensionsv1.CustomResourceDefinition
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(crd.Object, &d); err != nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.kinds == nil {
		return // nothing read yet: the first discovery will bring it
	}
	for _, v := range d.Spec.Versions {
		if !v.Served {
			continue
		}
		gvk := schema.GroupVersionKind{Group: d.Spec.Group, Version: v.Name, Kind: d.Spec.Names.Kind}
		m.kinds[gvk] = Mapping{
			Resource:   schema.GroupVersionResource{Group: d.Spec.Group, Version: v.Name, Resource: d.Spec.Names.Plural},
			Namespaced: d.Spec.Scope == apiextensionsv1.NamespaceScoped,
		}
		if _, ok := m.preferred[gvk.GroupKind()]; !ok {
			m.preferred[gvk.GroupKind()] = v.Name
		}
	}
}

// Forget drops all that was read: the next question asks the server.
func (m *Mapper) Forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kinds, m.preferred, m.read = nil, nil, time.Time{}
}

func (m *Mapper) lookup(gvk schema.GroupVersionKind) (Mapping, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	got, ok := m.kinds[gvk]
	return got, ok
}

func (m *Mapper) refresh(ctx context.Context) error {
	ch := m.flight.DoChan("", func() (any, error) {
		m.mu.RLock()
		fresh := m.kinds != nil && m.now().Sub(m.read) < refreshGap
		m.mu.RUnlock()
		if fresh {
			return nil, nil
		}
		return nil, m.fetch()
	})
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case r := <-ch:
		return r.Err
	}
}

func (m *Mapper) fetch() error {
	groups, lists, err := m.discovery.ServerGroupsAndResources()
	var partial *discovery.ErrGroupDiscoveryFailed
	if err != nil && !errors.As(err, &partial) {
		return fmt.Errorf("discover the kinds that the server has: %w", err)
	}
	kinds := map[schema.GroupVersionKind]Mapping{}
	for _, l := range lists {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			continue
		}
		for _, r := range l.APIResources {
			addResource(kinds, gv, r.Group, r.Version, r.Kind, r.Name, r.Namespaced)
		}
	}
	preferred := map[schema.GroupKind]string{}
	rank := map[string]string{}
	for _, g := range groups {
		rank[g.Name] = g.PreferredVersion.Version
	}
	for gvk := range kinds {
		gk := gvk.GroupKind()
		if had, ok := preferred[gk]; !ok || gvk.Version == rank[gk.Group] || (had != rank[gk.Group] && gvk.Version > had) {
			preferred[gk] = gvk.Version
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kinds, m.preferred, m.failed, m.read = kinds, preferred, nil, m.now()
	if partial != nil {
		m.failed = partial.Groups
	}
	return nil
}

func addResource(kinds map[schema.GroupVersionKind]Mapping, gv schema.GroupVersion, group, version, kind, name string, namespaced bool) {
	for i := range name {
		if name[i] == '/' {
			return // a subresource
		}
	}
	// A list may hold resources of another group, for instance autoscaling Scale.
	if group != "" && group != gv.Group || version != "" && version != gv.Version {
		return
	}
	gvk := gv.WithKind(kind)
	if _, ok := kinds[gvk]; !ok {
		kinds[gvk] = Mapping{Resource: gv.WithResource(name), Namespaced: namespaced}
	}
}
