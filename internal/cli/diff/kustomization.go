// Package diff is `flux diff kustomization` and `flux diff helmrelease`: what applying local files or a revision of a Git
// repository, or the next upgrade of a release, would change in a cluster. Nothing is written; the API server is asked
// with dry-runs.
package diff

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/cli/build"
	"github.com/gitops-toolkit/flux/internal/cli/kinds"
	"github.com/gitops-toolkit/flux/internal/kustomize/spec"
)

// parallel is how many objects the API server is asked about at once.
const parallel = 8

// Report is what would happen to the objects of one Kustomization or HelmRelease.
type Report struct {
	Kustomization string   `json:"kustomization,omitempty"`
	HelmRelease   string   `json:"helmRelease,omitempty"`
	Changes       []Change `json:"changes"`
	// Nested are the Kustomizations among the objects, with --recursive.
	Nested []Report `json:"nested,omitempty"`
	// Fate says what becomes of the Kustomization itself when it is new or deleted.
	Fate string `json:"fate,omitempty"`
	// Note says why it was not compared.
	Note string `json:"note,omitempty"`
	// Error says why the comparison failed.
	Error string `json:"error,omitempty"`
}

// subject names the object.
func (r *Report) subject() string { return cmp.Or(r.Kustomization, r.HelmRelease) }

// changed tells whether anything would happen.
func (r *Report) changed() bool {
	return slices.ContainsFunc(r.Changes, func(c Change) bool { return c.Action != Skipped }) ||
		slices.ContainsFunc(r.Nested, func(n Report) bool { return n.changed() })
}

// differ compares Kustomizations.
type differ struct {
	*build.Builder
	client         *apply.Client
	ignoreNotFound bool
	seen           map[string]bool
}

var errNewNeedsFile = errors.New("kustomization file is required when assuming new kustomizations")

// kustomization reads the object; its inventory is the cluster's, also when its spec comes from a file.
func (d *differ) kustomization(ctx context.Context, name string) (*kustomizev1.Kustomization, error) {
	live := &kustomizev1.Kustomization{}
	err := d.Client.Get(ctx, kinds.Kustomization.Resource, d.Namespace, name, live)
	missing := apierrors.IsNotFound(err)
	switch {
	case missing && d.ignoreNotFound && d.File == "":
		return nil, errNewNeedsFile
	case missing && (d.ignoreNotFound || d.File != ""):
		return d.Builder.Kustomization(ctx, name)
	case err != nil:
		return nil, fmt.Errorf("failed to get kustomization object: %w", err)
	case d.File == "":
		return live, nil
	}
	obj, err := d.Builder.Kustomization(ctx, name)
	if err != nil {
		return nil, err
	}
	obj.Status = live.Status
	return obj, nil
}

// diff compares one Kustomization built from dir.
func (d *differ) diff(ctx context.Context, obj *kustomizev1.Kustomization, dir string) (Report, error) {
	report := Report{Kustomization: "Kustomization/" + obj.Namespace + "/" + obj.Name}
	d.seen[obj.Namespace+"/"+obj.Name] = true
	if obj.Spec.KubeConfig != nil {
		report.Note = "diff not supported for remote clusters"
		return report, nil
	}
	objects, err := d.desired(ctx, obj, dir)
	if err != nil {
		return report, err
	}
	c := d.comparer(obj, objects)
	if report.Changes, err = c.all(ctx); err != nil {
		return report, err
	}
	if obj.Spec.Prune {
		gone, err := c.gone(ctx, obj, nil)
		if err != nil {
			return report, err
		}
		report.Changes = append(report.Changes, gone...)
	}
	if !d.Recursive {
		return report, nil
	}
	return report, d.nested(ctx, &report, objects)
}

// desired builds the objects in the form in which the controller applies them, but for what is encrypted.
func (d *differ) desired(ctx context.Context, obj *kustomizev1.Kustomization, dir string) ([]*unstructured.Unstructured, error) {
	built, err := d.Build(ctx, obj, dir)
	if err != nil {
		return nil, err
	}
	settle(built, obj)
	objects := make([]apply.Object, len(built))
	for i, u := range built {
		encodeMasks(u)
		objects[i].Unstructured = u
	}
	_, err = apply.Prepare(ctx, d.client, objects, spec.Preparation(obj))
	return built, err
}

func (d *differ) comparer(obj *kustomizev1.Kustomization, objects []*unstructured.Unstructured) *comparer {
	return &comparer{
		client: d.client, manager: spec.FieldManager, policies: apply.Policies(kinds.Kustomization.Group),
		rules: obj.Spec.Ignore, force: obj.Spec.Force, set: objects, beside: objects,
	}
}

// all compares every object; the order is that of the build.
func (c *comparer) all(ctx context.Context) ([]Change, error) {
	changes, errs := make([]Change, len(c.set)), make([]error, len(c.set))
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for i, u := range c.set {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			changes[i], errs[i] = c.compare(ctx, u)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(changes, func(change Change) bool { return change.Action == unchanged }), nil
}

// gone are the objects of the inventory that would be pruned, or taken over by who wants them.
func (c *comparer) gone(ctx context.Context, obj *kustomizev1.Kustomization, wanted map[apply.ID]string) (changes []Change, err error) {
	if obj.Status.Inventory == nil {
		return nil, nil
	}
	kept := map[apply.ID]bool{}
	for _, u := range c.set {
		kept[apply.RefOf(u).ID()] = true
	}
	for _, entry := range obj.Status.Inventory.Entries {
		id := apply.ID(entry.ID)
		ref, ok := apply.Entry{ID: id, Version: entry.Version}.Ref()
		if !ok || kept[id] {
			continue
		}
		if to := wanted[id]; to != "" {
			changes = append(changes, Change{Object: ref.Subject(), Action: Moved, To: to})
			continue
		}
		live, err := c.client.Get(ctx, ref)
		if apierrors.IsNotFound(err) || err == nil && live == nil {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ref.Subject(), err)
		}
		if prunable(live, obj) {
			changes = append(changes, Change{Object: ref.Subject(), Action: Deleted})
		}
	}
	return changes, nil
}

// prunable tells whether a live object is still its owner's to delete.
func prunable(live *unstructured.Unstructured, owner *kustomizev1.Kustomization) bool {
	by := spec.Owner(owner)
	return by.Owns(live) && !apply.Policies(by.Group).Keep(live)
}

// nested compares the Kustomizations that the build has.
func (d *differ) nested(ctx context.Context, report *Report, objects []*unstructured.Unstructured) error {
	for _, u := range objects {
		if u.GroupVersionKind().GroupKind() != (schema.GroupKind{Group: kinds.Kustomization.Group, Kind: kinds.Kustomization.Kind}) || d.seen[u.GetNamespace()+"/"+u.GetName()] {
			continue
		}
		obj := &kustomizev1.Kustomization{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, obj); err != nil {
			return fmt.Errorf("%s: %w", subject(u), err)
		}
		live := &kustomizev1.Kustomization{}
		if err := d.Client.Get(ctx, kinds.Kustomization.Resource, obj.Namespace, obj.Name, live); err == nil {
			obj.Status = live.Status
		} else if !apierrors.IsNotFound(err) {
			return err
		}
		dir, err := d.Local(obj)
		if err != nil {
			return err
		}
		inner, err := d.diff(ctx, obj, dir)
		if err != nil {
			return err
		}
		report.Nested = append(report.Nested, inner)
	}
	return nil
}

// within is where a Kustomization's path is in a checkout.
func within(root string, obj *kustomizev1.Kustomization) string {
	return filepath.Join(root, filepath.FromSlash(filepath.Clean("/"+obj.Spec.Path)))
}

// list reads all Kustomizations of the namespace.
func (d *differ) list(ctx context.Context) ([]string, error) {
	all, err := listNames(ctx, d.Client, d.Namespace)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no Kustomization objects found in %q namespace", d.Namespace)
	}
	names := make([]string, len(all))
	for i, obj := range all {
		names[i] = obj.Name
	}
	return names, nil
}
