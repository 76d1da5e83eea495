package diff

import (
	"context"
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"
)

// threeWay asks what an upgrade from the client's side would make of an object: what the former manifest has and the new
// one has not is taken away.
func (c *comparer) threeWay(ctx context.Context, resource dynamic.ResourceInterface, former, desired, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	var sides [3][]byte
	for i, o := range []*unstructured.Unstructured{former, desired, live} {
		var err error
		if sides[i], err = json.Marshal(o.Object); err != nil {
			return nil, err
		}
	}
	form, patch, err := patchOf(sides, desired)
	if err != nil {
		return nil, err
	}
	return resource.Patch(ctx, desired.GetName(), form, patch, metav1.PatchOptions{FieldManager: c.manager, DryRun: []string{metav1.DryRunAll}})
}

// patchOf merges as Helm does: by the rules of built-in kinds, and field by field for others.
func patchOf(sides [3][]byte, desired *unstructured.Unstructured) (types.PatchType, []byte, error) {
	typed, err := scheme.Scheme.New(desired.GroupVersionKind())
	if runtime.IsNotRegisteredError(err) {
		patch, err := jsonmergepatch.CreateThreeWayJSONMergePatch(sides[0], sides[1], sides[2])
		return types.MergePatchType, patch, err
	}
	if err != nil {
		return "", nil, err
	}
	schema, err := strategicpatch.NewPatchMetaFromStruct(typed)
	if err != nil {
		return "", nil, err
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch(sides[0], sides[1], sides[2], schema, true)
	return types.StrategicMergePatchType, patch, err
}
