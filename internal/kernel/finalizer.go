package kernel

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api/meta"
)

// addFinalizer makes sure that the object does not go away before it was cleaned up. The pass
// goes on with the answer.
func (e *engine) addFinalizer(ctx context.Context, p *pass) error {
	if slices.Contains(p.object.GetFinalizers(), e.finalizer) {
		return nil
	}
	answer, err := e.patchFinalizers(ctx, p.st, p.base, append(slices.Clone(p.object.GetFinalizers()), e.finalizer))
	if err != nil {
		return fmt.Errorf("add the finalizer: %w", err)
	}
	p.base, p.object = answer, answer.DeepCopyObject().(meta.Object)
	return nil
}

func (e *engine) removeFinalizer(ctx context.Context, p *pass) error {
	rest := slices.DeleteFunc(slices.Clone(p.object.GetFinalizers()), func(f string) bool { return f == e.finalizer })
	_, err := e.patchFinalizers(ctx, p.st, p.base, rest)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove the finalizer: %w", err)
	}
	return nil
}

func (e *engine) patchFinalizers(ctx context.Context, st *state, from meta.Object, finalizers []string) (meta.Object, error) {
	st.writing.Lock()
	defer st.writing.Unlock()
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"resourceVersion": st.freshest(from).GetResourceVersion(), "uid": from.GetUID(), "finalizers": finalizers,
	}})
	if err != nil {
		return nil, err
	}
	answer := from.DeepCopyObject().(meta.Object)
	if err := e.m.Client().Patch(ctx, answer, client.RawPatch(types.MergePatchType, data), client.FieldOwner(e.m.manager())); err != nil {
		return nil, err
	}
	st.remember(answer)
	return answer, nil
}
