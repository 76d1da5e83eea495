package bootstrap

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/install"
)

func (r *run) sourceReady(ctx context.Context) error {
	err := r.ready(ctx, repositories, "GitRepository", "status", "artifact", "revision")
	if err != nil && r.kept {
		return fmt.Errorf("%w; the Secret %s/%s of an earlier run was kept: if its key or token is no longer good, delete it and run again", err, r.Install.Namespace, r.Secret.Name)
	}
	return err
}

func (r *run) kustomizationReady(ctx context.Context) error {
	return r.ready(ctx, kustomizations, "Kustomization", "status", "lastAppliedRevision")
}

// ready asks the controller for a reconciliation and waits until it has done what was pushed.
func (r *run) ready(ctx context.Context, resource schema.GroupVersionResource, kind string, field ...string) error {
	name := r.Install.Namespace
	r.log.Waitingf("waiting for %s \"%s/%s\" to be reconciled", kind, name, name)
	token := time.Now().Format(time.RFC3339Nano)
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{meta.ReconcileRequestAnnotation: token}}})
	if err != nil {
		return err
	}
	objects := r.client.Dynamic().Resource(resource).Namespace(name)
	if _, err := objects.Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: install.FieldManager}); err != nil {
		return fmt.Errorf("ask for the reconciliation of %s %s/%s: %w", kind, name, name, err)
	}
	want := awaited{kind: kind, token: token, revision: r.tree.revision(), branch: r.Branch, field: field}
	options := func(o *metav1.ListOptions) { o.FieldSelector = "metadata.name=" + name }
	lw := &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			options(&o)
			return objects.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			options(&o)
			return objects.Watch(ctx, o)
		},
	}
	last := "its controller has said nothing yet"
	_, err = watchtools.UntilWithSync(ctx, lw, &unstructured.Unstructured{}, nil, func(event watch.Event) (done bool, err error) {
		obj, ok := event.Object.(*unstructured.Unstructured)
		if !ok || event.Type == watch.Deleted {
			return false, fmt.Errorf("%s '%s/%s' was deleted", kind, name, name)
		}
		done, last, err = want.verdict(obj)
		return done, err
	})
	switch {
	case err == nil:
		r.log.Successf("%s reconciled successfully", kind)
		return nil
	case ctx.Err() != nil || errors.Is(err, watchtools.ErrWatchClosed):
		return fmt.Errorf("error while waiting for %s to be ready: %w: %s", kind, cmp.Or(ctx.Err(), context.DeadlineExceeded), last)
	}
	return err
}

// awaited is what an object must report.
type awaited struct {
	kind, token, revision, branch string
	field                         []string
}

// verdict tells whether the object is as awaited. What it says of an earlier request, generation or
// revision is no verdict.
func (a awaited) verdict(obj *unstructured.Unstructured) (done bool, last string, err error) {
	if suspended, _, _ := unstructured.NestedBool(obj.Object, "spec", "suspend"); suspended {
		return false, "", fmt.Errorf("%s '%s/%s' is suspended: run 'flux resume' for it and bootstrap again", a.kind, obj.GetNamespace(), obj.GetName())
	}
	observed, _, _ := unstructured.NestedInt64(obj.Object, "status", "observedGeneration")
	handled, _, _ := unstructured.NestedString(obj.Object, "status", "lastHandledReconcileAt")
	status, reason, message, about := ready(obj)
	// The generation counts as observed when an attempt succeeds; which one a failure is about, its condition tells.
	if now := obj.GetGeneration(); status == "" || observed != now && about != now {
		return false, "its controller has not seen it yet", nil
	}
	answered := handled == a.token
	revision, _, _ := unstructured.NestedString(obj.Object, a.field...)
	switch status {
	case string(metav1.ConditionTrue):
		// Somebody may have pushed since; then a later commit of the branch is as good.
		return revision == a.revision || answered && strings.HasPrefix(revision, a.branch+"@"), "it is at " + revision, nil
	case string(metav1.ConditionFalse):
		// The Kustomization may not have seen the artifact yet that was stored a moment ago. The reason alone does not say so:
		// a directory that does not exist has the same one.
		waits := reason == meta.ArtifactFailedReason && strings.HasPrefix(message, "Source artifact not found")
		if answered && !waits {
			return false, message, fmt.Errorf("error while waiting for %s to be ready: '%s'", a.kind, message)
		}
	}
	return false, message, nil
}

// ready reads the condition, and about which generation it is.
func ready(obj *unstructured.Unstructured) (status, reason, message string, generation int64) {
	conditions, _, _ := unstructured.NestedSlice(obj.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == meta.ReadyCondition {
			status, _ = c["status"].(string)
			reason, _ = c["reason"].(string)
			message, _ = c["message"].(string)
			generation, _ = c["observedGeneration"].(int64)
		}
	}
	return status, reason, message, generation
}
