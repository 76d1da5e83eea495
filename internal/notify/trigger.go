package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/api/meta"
	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
	"github.com/gitops-toolkit/flux/internal/cel"
	"github.com/gitops-toolkit/flux/internal/kernel"
	"github.com/gitops-toolkit/flux/internal/notify/push"
	"github.com/gitops-toolkit/flux/internal/notify/receivers"
)

// trigger asks the resources of one Receiver for a reconciliation, because of one call.
type trigger struct {
	m        *kernel.Manager
	log      logr.Logger
	receiver *notificationv1.Receiver
	filters  receivers.Filters
	request  map[string]any
	claims   map[string]any
	push     *push.Push // nil: the call does not say what was pushed
	asked    *asked
	settle   *settling

	mu sync.Mutex
	// done are the objects that this call has asked, which may stand in several entries.
	done map[string]bool
}

// filtered tells whether the call decides which resources are meant.
func (t *trigger) filtered() bool {
	for _, f := range t.filters.Resources {
		if f != nil {
			return true
		}
	}
	return t.filters.All != nil
}

// all goes through the resources in their order and returns how many failed.
func (t *trigger) all(ctx context.Context) (failed int) {
	for i, ref := range t.receiver.Spec.Resources {
		if err := t.resource(ctx, ref, t.filters.Resources[i]); err != nil {
			t.log.Error(err, fmt.Sprintf("unable to request reconciliation of the resource '%s/%s'", ref.Kind, ref.Name))
			failed++
		}
	}
	return failed
}

// defaultVersions of the kinds that need no apiVersion: all of the toolkit.
var defaultVersions = map[string]string{
	"Bucket": "source.toolkit.fluxcd.io/v1", "HelmChart": "source.toolkit.fluxcd.io/v1", "HelmRepository": "source.toolkit.fluxcd.io/v1",
	"GitRepository": "source.toolkit.fluxcd.io/v1", "OCIRepository": "source.toolkit.fluxcd.io/v1",
	"ImageRepository": "image.toolkit.fluxcd.io/v1", "ImagePolicy": "image.toolkit.fluxcd.io/v1", "ImageUpdateAutomation": "image.toolkit.fluxcd.io/v1",
	"Kustomization": "kustomize.toolkit.fluxcd.io/v1", "HelmRelease": "helm.toolkit.fluxcd.io/v2",
	"ExternalArtifact": "source.toolkit.fluxcd.io/v1", "ArtifactGenerator": "source.extensions.fluxcd.io/v1beta1",
}

// resource handles one entry of spec.resources: an object, or all with certain labels.
func (t *trigger) resource(ctx context.Context, ref notificationv1.CrossNamespaceObjectReference, filter *cel.Expression) error {
	namespace := cmp.Or(ref.Namespace, t.receiver.Namespace)
	if namespace == allNamespaces && !t.receiver.Spec.MatchRepository {
		return errors.New("the namespace * needs spec.matchRepository")
	}
	if namespace != t.receiver.Namespace && t.m.Settings().NoCrossNamespaceRefs {
		return errors.New("cross-namespace references are not allowed")
	}
	version := cmp.Or(ref.APIVersion, defaultVersions[ref.Kind])
	if version == "" {
		return fmt.Errorf("apiVersion must be specified for kind %q", ref.Kind)
	}
	kind := schema.FromAPIVersionAndKind(version, ref.Kind)
	if t.receiver.Spec.MatchRepository {
		return t.matched(ctx, kind, namespace, ref, filter)
	}
	if ref.Name != "*" {
		return t.one(ctx, kind, types.NamespacedName{Namespace: namespace, Name: ref.Name}, filter)
	}
	if ref.MatchLabels == nil {
		return errors.New("matchLabels field not set when using wildcard '*' as name")
	}
	return t.selected(ctx, kind, namespace, ref.MatchLabels, filter)
}

func (t *trigger) one(ctx context.Context, kind schema.GroupVersionKind, name types.NamespacedName, filter *cel.Expression) error {
	obj := &metav1.PartialObjectMetadata{}
	obj.SetGroupVersionKind(kind)
	obj.Name, obj.Namespace = name.Name, name.Namespace
	if filter != nil || t.filters.All != nil {
		if err := t.m.Live().Get(ctx, name, obj); err != nil {
			return fmt.Errorf("unable to read %s '%s': %w", kind.Kind, name, err)
		}
	}
	return t.consider(ctx, obj, filter, false)
}

func (t *trigger) selected(ctx context.Context, kind schema.GroupVersionKind, namespace string, labels map[string]string, filter *cel.Expression) error {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind)
	if err := t.m.Live().List(ctx, list, client.InNamespace(namespace), client.MatchingLabels(labels)); err != nil {
		return fmt.Errorf("failed listing resources in namespace '%s' by matching labels '%v': %w", namespace, labels, err)
	}
	if len(list.Items) == 0 {
		t.log.Error(fmt.Errorf("no '%s' resources found with matching labels '%v' in '%s' namespace", kind.Kind, labels, namespace), "nothing to annotate")
		return nil
	}
	var errs []error
	for i := range list.Items {
		list.Items[i].SetGroupVersionKind(kind)
		errs = append(errs, t.consider(ctx, &list.Items[i], filter, false))
	}
	return errors.Join(errs...)
}

// consider asks one object for a reconciliation, unless a filter leaves it out or it was asked already. With late, it
// first waits a moment for calls about other references of the same push.
func (t *trigger) consider(ctx context.Context, obj *metav1.PartialObjectMetadata, filter *cel.Expression, late bool) error {
	for _, f := range []*cel.Expression{t.filters.All, filter} {
		if f == nil {
			continue
		}
		meant, err := t.evaluate(ctx, f, obj)
		if err != nil || !meant {
			return err
		}
	}
	object := obj.GetObjectKind().GroupVersionKind().Kind + "/" + client.ObjectKeyFromObject(obj).String()
	if !t.once(object) || !t.asked.first(object, t.push, t.receiver.UID) {
		return nil
	}
	ask := func(ctx context.Context) error { return t.annotate(ctx, obj) }
	err := error(nil)
	if late {
		err = t.settle.do(ctx, object, ask)
	} else {
		err = ask(ctx)
	}
	if err != nil {
		t.asked.again(object, t.push)
	}
	return err
}

// once tells whether this call asks an object for the first time.
func (t *trigger) once(object string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done == nil {
		t.done = map[string]bool{}
	}
	was := t.done[object]
	t.done[object] = true
	return !was
}

// annotate asks an object for a reconciliation.
func (t *trigger) annotate(ctx context.Context, obj *metav1.PartialObjectMetadata) error {
	key, kind := client.ObjectKeyFromObject(obj), obj.GetObjectKind().GroupVersionKind().Kind
	// The time as Go writes it, with the monotonic clock, is what has always stood here.
	now := time.Now().String()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{meta.ReconcileRequestAnnotation: now}}})
	if err != nil {
		return err
	}
	if err := t.m.Client().Patch(ctx, obj, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(t.m.Name())); err != nil {
		return fmt.Errorf("unable to annotate %s '%s': %w", kind, key, err)
	}
	t.log.Info(fmt.Sprintf("resource '%s/%s.%s' annotated", kind, key.Name, key.Namespace))
	return nil
}

func (t *trigger) evaluate(ctx context.Context, f *cel.Expression, obj *metav1.PartialObjectMetadata) (bool, error) {
	res, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return false, err
	}
	variables := map[string]any{"res": res, "req": t.request}
	if t.claims != nil {
		variables["claims"] = t.claims
	}
	meant, err := f.Eval(ctx, variables)
	if err != nil {
		return false, fmt.Errorf("the resource filter failed for '%s': %w", obj.GetName(), err)
	}
	return meant, nil
}
