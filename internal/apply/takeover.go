package apply

import (
	"context"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// Metadata that client-side tools leave behind and that goes with their managers.
var (
	leftAnnotations = []string{
		"kubectl.kubernetes.io/last-applied-configuration",
		"kustomize.toolkit.fluxcd.io/checksum",
		"fluxcd.io/sync-checksum",
	}
	leftLabels = []string{"fluxcd.io/sync-gc-mark"}
)

// cleanup is a patch of live metadata: entries of managers that are taken over become part of ours,
// so that the apply that follows removes the fields that are not desired.
type cleanup struct {
	ops []jsonOp
	// leftovers says that labels or annotations are removed.
	leftovers bool
	// seen are the entries that it was made from.
	seen []metav1.ManagedFieldsEntry
}

// takesOver reports whether the entry belongs to a manager whose fields become ours.
func takesOver(e metav1.ManagedFieldsEntry, fieldManager string, override []string) bool {
	if e.Subresource != "" {
		return false
	}
	update := e.Operation == metav1.ManagedFieldsOperationUpdate
	switch {
	case e.Manager == fieldManager && !update:
		return false // ours already
	case strings.HasPrefix(e.Manager, "kubectl"):
		return true
	case update && (strings.HasPrefix(e.Manager, "before-first-apply") || strings.HasPrefix(e.Manager, fieldManager)):
		return true
	}
	return slices.ContainsFunc(override, func(name string) bool {
		return name != "" && strings.HasPrefix(e.Manager, name)
	})
}

// ForeignManager returns the name of a manager on the main resource whose fields the next pass takes
// over, empty when there is none.
func ForeignManager(obj metav1.Object, fieldManager string, override []string) string {
	for _, e := range obj.GetManagedFields() {
		if takesOver(e, fieldManager, override) && !onlyRestart(e) {
			return e.Manager
		}
	}
	return ""
}

// Plain reports whether nothing on a live object asks for more than to apply it: no policy of the owner's group, no
// manager that is taken over, nothing that client-side tools have left, and fields that have managers.
func Plain(obj metav1.Object, group, fieldManager string, override []string) bool {
	if len(obj.GetManagedFields()) == 0 {
		return false // the server would make up a manager
	}
	for _, e := range obj.GetManagedFields() {
		if takesOver(e, fieldManager, override) {
			return false
		}
	}
	c := Policies(group)
	return !c.Untouched(obj) && !c.merge(obj) && !hasAny(obj.GetAnnotations(), leftAnnotations) && !hasAny(obj.GetLabels(), leftLabels)
}

func hasAny(have map[string]string, keys []string) bool {
	return slices.ContainsFunc(keys, func(key string) bool { _, ok := have[key]; return ok })
}

// mustClean reports whether a clean-up is due by itself. What "kubectl rollout restart" wrote stays
// until the object is written for another reason: undoing it would roll out again.
func (p *pass) mustClean(v *verdict) bool {
	if v.cleanup == nil {
		return false
	}
	if v.cleanup.leftovers {
		return true
	}
	return ForeignManager(v.dry, p.FieldManager, p.OverrideManagers) != ""
}

// onlyRestart reports whether an entry owns nothing but the mark of a rollout restart.
func onlyRestart(e metav1.ManagedFieldsEntry) bool {
	set := decodeFields(e)
	return set != nil && !set.Empty() && set.Difference(restartFields).Empty()
}

// restartFields are what a rollout restart may own: the annotation, and the maps that it made.
var restartFields = fieldpath.NewSet(
	fieldpath.MakePathOrDie("spec", "template", "metadata", "annotations"),
	fieldpath.MakePathOrDie("spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt"),
)

// takeOver returns what has to be cleaned on an object, nil when nothing has. The answer to a dry-run
// tells whether; what is patched has to come from the live object, whose entry of ours still holds
// the fields that are to go.
func (p *pass) takeOver(u *unstructured.Unstructured) *cleanup {
	var ops []jsonOp
	if entries, changed := mergeEntries(u, p.FieldManager, p.OverrideManagers); changed {
		ops = append(ops, jsonOp{Op: "replace", Path: "/metadata/managedFields", Value: entries})
	}
	for _, key := range leftAnnotations {
		if _, ok := u.GetAnnotations()[key]; ok {
			ops = append(ops, jsonOp{Op: "remove", Path: "/metadata/annotations/" + pointerEscape(key)})
		}
	}
	for _, key := range leftLabels {
		if _, ok := u.GetLabels()[key]; ok {
			ops = append(ops, jsonOp{Op: "remove", Path: "/metadata/labels/" + pointerEscape(key)})
		}
	}
	if len(ops) == 0 {
		return nil
	}
	leftovers := len(ops) > 1 || ops[0].Op == "remove"
	// The version makes the patch fail with a Conflict when the object changed meanwhile.
	version := jsonOp{Op: "replace", Path: "/metadata/resourceVersion", Value: u.GetResourceVersion()}
	return &cleanup{ops: append(ops, version), leftovers: leftovers, seen: u.GetManagedFields()}
}

// mergeEntries moves the fields of taken over managers into our own Apply entry.
func mergeEntries(u *unstructured.Unstructured, manager string, override []string) ([]metav1.ManagedFieldsEntry, bool) {
	var keep []metav1.ManagedFieldsEntry
	ours, fields := (*metav1.ManagedFieldsEntry)(nil), &fieldpath.Set{}
	taken := false
	for _, e := range u.GetManagedFields() {
		own := e.Manager == manager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == ""
		foreign := takesOver(e, manager, override)
		if !own && !foreign {
			keep = append(keep, e)
			continue
		}
		taken = taken || foreign
		if set := decodeFields(e); set != nil {
			fields = fields.Union(set)
		}
		if own || ours == nil {
			ours = e.DeepCopy()
		}
	}
	if !taken {
		return nil, false
	}
	raw, err := fields.ToJSON()
	if err != nil {
		return nil, false
	}
	ours.Manager, ours.Operation = manager, metav1.ManagedFieldsOperationApply
	ours.FieldsType, ours.FieldsV1 = "FieldsV1", metav1.NewFieldsV1(string(raw))
	return append([]metav1.ManagedFieldsEntry{*ours}, keep...), true
}

func decodeFields(e metav1.ManagedFieldsEntry) *fieldpath.Set {
	if e.FieldsV1 == nil {
		return nil
	}
	set := &fieldpath.Set{}
	if err := set.FromJSON(e.FieldsV1.GetRawReader()); err != nil {
		return nil
	}
	return set
}

// clean makes the patch from the live object and sends it, anew when the object has changed meanwhile.
func (p *pass) clean(ctx context.Context, v *verdict) error {
	for try := 0; v.cleanup != nil; try++ {
		live, err := p.Client.resource(v.mapping, v.item.ref.Namespace).Get(ctx, v.item.ref.Name, getOptions)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if v.cleanup = p.takeOver(managed(live, v.cleanup.seen)); v.cleanup == nil {
			return nil
		}
		err = p.patchMetadata(ctx, v.mapping, v.item.ref, v.cleanup.ops)
		if err == nil || apierrors.IsNotFound(err) {
			return nil
		}
		if !apierrors.IsConflict(err) && !apierrors.IsInvalid(err) || try == 3 {
			return err
		}
	}
	return nil
}

// managed returns the live object, with the entries that the dry-run saw where it has none: an apply makes up a manager
// for what it then finds.
func managed(live *unstructured.Unstructured, seen []metav1.ManagedFieldsEntry) *unstructured.Unstructured {
	if len(live.GetManagedFields()) == 0 {
		live.SetManagedFields(seen)
	}
	return live
}

// migrate rewrites the apiVersion of all managedFields entries to the one that is applied, when that
// is asked for and the refusal says that the server cannot read an entry any more.
func (p *pass) migrate(ctx context.Context, v *verdict, refusal error) bool {
	if !p.MigrateAPIVersion || !strings.Contains(refusal.Error(), "field not declared in schema") {
		return false
	}
	live, err := p.Client.resource(v.mapping, v.item.ref.Namespace).Get(ctx, v.item.ref.Name, getOptions)
	if err != nil {
		return false
	}
	version := v.item.ref.GroupVersion().String()
	entries, changed := live.GetManagedFields(), false
	for i := range entries {
		if entries[i].APIVersion != version {
			entries[i].APIVersion, changed = version, true
		}
	}
	if !changed {
		return false
	}
	ops := []jsonOp{
		{Op: "replace", Path: "/metadata/managedFields", Value: entries},
		{Op: "replace", Path: "/metadata/resourceVersion", Value: live.GetResourceVersion()},
	}
	return p.patchMetadata(ctx, v.mapping, v.item.ref, ops) == nil
}

// dropLeftovers removes from a desired object, typically one exported from a cluster, the metadata
// that a clean-up would remove from the live one again.
func dropLeftovers(u *unstructured.Unstructured) {
	for _, key := range leftAnnotations {
		unstructured.RemoveNestedField(u.Object, "metadata", "annotations", key)
	}
	for _, key := range leftLabels {
		unstructured.RemoveNestedField(u.Object, "metadata", "labels", key)
	}
}

func pointerEscape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
