package diff

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
)

// Action is what would be done to an object.
type Action string

// Actions.
const (
	Created   Action = "created"
	Drifted   Action = "drifted"
	Deleted   Action = "deleted"
	Moved     Action = "moved"
	Skipped   Action = "skipped"
	unchanged Action = ""
)

// Change is what would happen to one object.
type Change struct {
	Object string `json:"object"`
	Action Action `json:"action"`
	// Hook says when Helm makes the object, for one that is no part of the release itself.
	Hook string `json:"hook,omitempty"`
	// Diff is the text of a drift.
	Diff string `json:"diff,omitempty"`
	// To is who takes over what is moved.
	To string `json:"to,omitempty"`
}

// what says what would be done.
func (c *Change) what() string {
	switch {
	case c.To != "":
		return string(c.Action) + " to " + c.To
	case c.Hook != "":
		return string(c.Action) + " (hook: " + c.Hook + ")"
	}
	return string(c.Action)
}

// comparer asks the API server what applying an object would change.
type comparer struct {
	client *apply.Client
	// manager is the controller, whose fields a dry-run must own to take them away.
	manager string
	// policies of objects say how they are applied; empty where none do.
	policies apply.Policies
	rules    []meta.IgnoreRule
	force    bool
	set      []*unstructured.Unstructured
	// beside is all that is applied together with the set, which is among it.
	beside []*unstructured.Unstructured
	// former are the objects as they were applied last, where that is done from the client's side.
	former map[apply.ID]*unstructured.Unstructured
}

func subject(u *unstructured.Unstructured) string { return apply.RefOf(u).Subject() }

// compare returns the change of one object.
func (c *comparer) compare(ctx context.Context, desired *unstructured.Unstructured) (Change, error) {
	change := Change{Object: subject(desired)}
	resource, err := c.resource(ctx, desired)
	if apimeta.IsNoMatchError(err) && c.brings(desired.GroupVersionKind().GroupKind()) {
		change.Action = Created
		return change, nil
	}
	if err != nil {
		return change, fmt.Errorf("%s: %w", change.Object, err)
	}
	live, err := resource.Get(ctx, desired.GetName(), metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return change, fmt.Errorf("%s: %w", change.Object, err)
	}
	if apierrors.IsNotFound(err) {
		live = nil
	}
	if c.policies != "" && c.leftAlone(desired, live) {
		change.Action = Skipped
		return change, nil
	}
	desired, hides := disguise(desired, live)
	merged, err := c.ask(ctx, resource, desired, live)
	switch {
	case err != nil && live == nil && len(hides) > 0 && (apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)):
		change.Action = Created // the server cannot judge what it does not see
		return change, nil
	case err != nil && live == nil && apierrors.IsNotFound(err) && c.namespaceComes(desired):
		change.Action = Created
		return change, nil
	case err != nil && live != nil && apierrors.IsInvalid(err) && c.mayForce(desired, live):
		change.Action = Created
		return change, nil
	case err != nil:
		return change, fmt.Errorf("%s dry-run failed: %w", change.Object, err)
	case live == nil:
		change.Action = Created
		return change, nil
	}
	return c.drift(change, live, merged, hides)
}

// drift compares what is with what would be.
func (c *comparer) drift(change Change, live, merged *unstructured.Unstructured, hides []string) (Change, error) {
	from, err := c.visible(live)
	if err != nil {
		return change, err
	}
	to, err := c.visible(merged)
	if err != nil {
		return change, err
	}
	if isSecret(live) {
		hides = append(hides, "data")
	}
	for _, field := range hides {
		hideField(from, to, field)
	}
	if reflect.DeepEqual(from, to) || onlyGeneration(from, to) {
		return change, nil
	}
	change.Action, change.Diff = Drifted, report(from, to)
	return change, nil
}

// visible is the object without what the server keeps for itself.
func (c *comparer) visible(u *unstructured.Unstructured) (map[string]any, error) {
	u, err := apply.WithoutIgnored(u, c.rules)
	if err != nil {
		return nil, err
	}
	for _, field := range []string{"managedFields", "resourceVersion", "creationTimestamp", "uid", "selfLink"} {
		unstructured.RemoveNestedField(u.Object, "metadata", field)
	}
	delete(u.Object, "status")
	return u.Object, nil
}

// onlyGeneration tells whether the server would count a generation for fields that are left to others.
func onlyGeneration(from, to map[string]any) bool {
	a := (&unstructured.Unstructured{Object: from}).DeepCopy()
	b := (&unstructured.Unstructured{Object: to}).DeepCopy()
	unstructured.RemoveNestedField(a.Object, "metadata", "generation")
	unstructured.RemoveNestedField(b.Object, "metadata", "generation")
	return reflect.DeepEqual(a.Object, b.Object)
}

func (c *comparer) resource(ctx context.Context, u *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	mapping, err := c.client.Mapper().For(ctx, u.GroupVersionKind())
	if err != nil {
		return nil, err
	}
	if !mapping.Namespaced {
		return c.client.Dynamic().Resource(mapping.Resource), nil
	}
	return c.client.Dynamic().Resource(mapping.Resource).Namespace(u.GetNamespace()), nil
}

// ask asks what would become of an object.
func (c *comparer) ask(ctx context.Context, resource dynamic.ResourceInterface, desired, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if former := c.former[apply.RefOf(desired).ID()]; former != nil && live != nil {
		return c.threeWay(ctx, resource, former, desired, live)
	}
	return c.dryRun(ctx, resource, desired)
}

func (c *comparer) dryRun(ctx context.Context, resource dynamic.ResourceInterface, desired *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(desired.Object)
	if err != nil {
		return nil, err
	}
	force := true
	return resource.Patch(ctx, desired.GetName(), types.ApplyPatchType, body, metav1.PatchOptions{
		FieldManager: c.manager, Force: &force, DryRun: []string{metav1.DryRunAll},
	})
}

// brings tells whether the set has the definition of a kind.
func (c *comparer) brings(gk schema.GroupKind) bool {
	for _, u := range c.beside {
		group, _, _ := unstructured.NestedString(u.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(u.Object, "spec", "names", "kind")
		if u.GetKind() == "CustomResourceDefinition" && group == gk.Group && kind == gk.Kind {
			return true
		}
	}
	return false
}

func (c *comparer) namespaceComes(desired *unstructured.Unstructured) bool {
	for _, u := range c.beside {
		if u.GetKind() == "Namespace" && u.GetName() == desired.GetNamespace() {
			return true
		}
	}
	return false
}

func (c *comparer) mayForce(desired, live *unstructured.Unstructured) bool {
	return c.force || c.policies != "" && (c.policies.Force(desired) || c.policies.Force(live))
}

// leftAlone tells whether labels or annotations keep the object from being applied.
func (c *comparer) leftAlone(desired, live *unstructured.Unstructured) bool {
	return c.policies.Untouched(desired) || live != nil && (c.policies.Untouched(live) || c.policies.CreateOnly(desired))
}
