package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/install"
)

// releasePatience bounds the last step of a run whose time is up.
const releasePatience = 10 * time.Second

// applySync has the cluster follow the repository. A cluster that follows one already puts back at once what differs
// from the commit that it has. While its source moves to another address or branch it is therefore told to leave the
// source alone; release takes that back.
func (r *run) applySync(ctx context.Context, objects []*unstructured.Unstructured) error {
	for i, obj := range objects {
		if obj.GetKind() != "GitRepository" {
			continue
		}
		moves, err := r.moves(ctx, obj)
		if err != nil {
			return err
		}
		if moves {
			r.held = obj
			objects[i] = held(obj)
		}
	}
	if _, err := install.Apply(ctx, r.client, objects); err != nil {
		return fmt.Errorf("failed to apply sync manifests: %w", err)
	}
	return nil
}

// moves tells whether the cluster has to fetch from elsewhere than it does, or an earlier run was stopped while it did.
func (r *run) moves(ctx context.Context, source *unstructured.Unstructured) (bool, error) {
	live, err := r.get(ctx, repositories, r.Install.Namespace)
	if err != nil || live == nil {
		return false, err
	}
	if apply.Policies(kustomizev1.GroupVersion.Group).Untouched(live) {
		return true, nil
	}
	for _, field := range []string{"url", "ref", "provider", "secretRef"} {
		now, _, _ := unstructured.NestedFieldNoCopy(live.Object, "spec", field)
		want, _, _ := unstructured.NestedFieldNoCopy(source.Object, "spec", field)
		if !equality.Semantic.DeepEqual(now, want) {
			return true, nil
		}
	}
	return false, nil
}

// held is an object that kustomize-controller leaves alone.
func held(obj *unstructured.Unstructured) *unstructured.Unstructured {
	obj = obj.DeepCopy()
	annotations := obj.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[kustomizev1.ReconcileAnnotation] = "disabled"
	obj.SetAnnotations(annotations)
	return obj
}

// release gives the source back to the cluster, however the run has ended.
func (r *run) release(ctx context.Context, failed error) error {
	if r.held == nil {
		return failed
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releasePatience)
	defer cancel()
	if _, err := install.Apply(ctx, r.client, []*unstructured.Unstructured{r.held}); err != nil {
		name := r.Install.Namespace
		return errors.Join(failed, fmt.Errorf("take the annotation %s from GitRepository %s/%s, or run again: %w", kustomizev1.ReconcileAnnotation, name, name, err))
	}
	return failed
}
