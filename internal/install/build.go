package install

import (
	"io/fs"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Build returns the objects of an installation, in the order in which they are exported.
func Build(files fs.FS, o Options) ([]*unstructured.Unstructured, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	b, err := readBundle(files)
	if err != nil {
		return nil, err
	}
	chosen, err := b.find(o.Components)
	if err != nil {
		return nil, err
	}
	l := &overlay{Options: o, bundle: b, chosen: chosen}
	shared, err := l.shared()
	if err != nil {
		return nil, err
	}
	own, err := l.components()
	if err != nil {
		return nil, err
	}
	objects := slices.Concat([]*unstructured.Unstructured{l.namespace()}, shared, own)
	for _, obj := range objects {
		l.common(obj)
	}
	return objects, nil
}

// overlay is the work of one Build.
type overlay struct {
	Options
	bundle *bundle
	chosen []component
}

func (l *overlay) namespace() *unstructured.Unstructured {
	ns := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace"}}
	ns.SetName(l.Namespace)
	ns.SetLabels(map[string]string{
		"pod-security.kubernetes.io/warn":         "restricted",
		"pod-security.kubernetes.io/warn-version": "latest",
	})
	return ns
}

// shared are network policies and roles.
func (l *overlay) shared() ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	if l.NetworkPolicy {
		policies, err := l.bundle.read("policies")
		if err != nil {
			return nil, err
		}
		for _, policy := range policies {
			l.selectPods(policy, "spec", "podSelector", "matchLabels")
		}
		out = append(out, policies...)
	}
	name := "rbac"
	if l.RBAC == Minimal {
		name = "rbac-minimal"
	}
	roles, err := l.bundle.read(name)
	if err != nil {
		return nil, err
	}
	return append(out, l.roles(roles)...), nil
}

// components are definitions, accounts, Services and Deployments.
func (l *overlay) components() ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	for _, c := range l.chosen {
		crds, err := l.bundle.definitions(c)
		if err != nil {
			return nil, err
		}
		objects, err := l.bundle.read(c.Name)
		if err != nil {
			return nil, err
		}
		out = append(out, crds...)
		for _, obj := range objects {
			if l.Topology == Single && obj.GetKind() != "Service" {
				continue
			}
			l.selectPods(obj, "spec", "selector")
			out = append(out, obj)
		}
	}
	if l.Topology == Single {
		objects, err := l.bundle.read(singleName)
		if err != nil {
			return nil, err
		}
		out = append(out, objects...)
	}
	for _, obj := range out {
		if obj.GetKind() == "Deployment" {
			if err := l.deployment(obj); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// selectPods makes what selects the pods of a component select those of the one Deployment.
func (l *overlay) selectPods(obj *unstructured.Unstructured, fields ...string) {
	if l.Topology != Single || obj.GetKind() == "Deployment" {
		return
	}
	if app, _, _ := unstructured.NestedString(obj.Object, append(fields, "app")...); l.bundle.known(app) {
		_ = unstructured.SetNestedField(obj.Object, singleName, append(fields, "app")...)
	}
}

// clusterKinds have no namespace.
var clusterKinds = []string{"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}

// common is done to every object.
func (l *overlay) common(obj *unstructured.Unstructured) {
	for key, value := range l.labels() {
		setLabel(obj, key, value)
	}
	if !slices.Contains(clusterKinds, obj.GetKind()) {
		obj.SetNamespace(l.Namespace)
	}
}

func (l *overlay) labels() map[string]string {
	return map[string]string{
		InstanceLabel: l.Namespace,
		VersionLabel:  l.Version,
		PartOfLabel:   "flux",
	}
}
