package install

import (
	"context"
	"errors"
	"fmt"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	toolscache "k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/apply/why"
)

// FieldManager is the name under which an installation is applied.
const FieldManager = "flux"

const markerCRD = "gitrepositories.source.toolkit.fluxcd.io"

var (
	crdResource        = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	deploymentResource = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
)

// Installed is what a cluster tells about the installation that it has.
type Installed struct {
	Version string
	// Bootstrapped says that it is kept from a Git repository.
	Bootstrapped bool
	// ManagedBy names the tool that installed it, empty for this one.
	ManagedBy string
}

// Find reads from the labels of a definition what is installed; nil when nothing is.
func Find(ctx context.Context, client *apply.Client) (*Installed, error) {
	crd, err := client.Metadata().Resource(crdResource).Get(ctx, markerCRD, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look for an installation: %w", err)
	}
	labels := crd.GetLabels()
	found := &Installed{
		Version: labels[VersionLabel], ManagedBy: labels["app.kubernetes.io/managed-by"],
		Bootstrapped: labels["kustomize.toolkit.fluxcd.io/name"] != "" && labels["kustomize.toolkit.fluxcd.io/namespace"] != "",
	}
	if found.ManagedBy == "flux" {
		found.ManagedBy = ""
	}
	return found, nil
}

// Apply brings the objects to the cluster: definitions and the namespace first, then, when they
// are established, the rest. The changes are returned also when it fails half way.
func Apply(ctx context.Context, client *apply.Client, objects []*unstructured.Unstructured) (apply.ChangeLog, error) {
	desired := make([]apply.Object, len(objects))
	for i, obj := range objects {
		desired[i] = apply.Object{Unstructured: obj.DeepCopy()}
	}
	set, err := apply.Prepare(ctx, client, desired, apply.Preparation{})
	if err != nil {
		return nil, err
	}
	result, err := apply.Apply(ctx, set, apply.Options{Client: client, FieldManager: FieldManager})
	return result.Changes, err
}

// subject names an object as the lines of a change log do.
func subject(obj *unstructured.Unstructured) string {
	if obj.GetNamespace() == "" {
		return obj.GetKind() + "/" + obj.GetName()
	}
	return obj.GetKind() + "/" + obj.GetNamespace() + "/" + obj.GetName()
}

// Deployments returns the names of the Deployments among the objects, in order.
func Deployments(objects []*unstructured.Unstructured) []string {
	var names []string
	for _, obj := range objects {
		if obj.GetKind() == "Deployment" {
			names = append(names, obj.GetName())
		}
	}
	return names
}

// Running returns the names of the Deployments of an installation that have a pod which is ready.
func Running(ctx context.Context, client *apply.Client, namespace string) (map[string]bool, error) {
	list, err := client.Dynamic().Resource(deploymentResource).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: PartOfLabel + "=flux"})
	if err != nil {
		return nil, fmt.Errorf("look for controllers in the namespace %s: %w", namespace, err)
	}
	names := map[string]bool{}
	for i := range list.Items {
		ready, _, _ := unstructured.NestedInt64(list.Items[i].Object, "status", "readyReplicas")
		names[list.Items[i].GetName()] = ready > 0
	}
	return names, nil
}

// ErrMissing says that a Deployment does not exist.
var ErrMissing = errors.New("deployment not found")

// WaitReady returns when the Deployment's rollout is complete. When the context ends before, the
// error tells what is still missing and why; ErrMissing when the Deployment is.
func WaitReady(ctx context.Context, client *apply.Client, namespace, name string) error {
	resource := client.Dynamic().Resource(deploymentResource).Namespace(namespace)
	// The time may be used up by those before; what is ready is ready all the same.
	look, cancel := context.WithTimeout(context.WithoutCancel(ctx), why.Timeout)
	defer cancel()
	last, err := resource.Get(look, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return ErrMissing
	}
	if err != nil {
		return err
	}
	missing := ""
	ready := func(obj *unstructured.Unstructured) (bool, error) {
		result, err := status.Compute(obj)
		if err != nil {
			return false, err
		}
		last, missing = obj, result.Message
		return result.Status == status.CurrentStatus, nil
	}
	if done, err := ready(last); done || err != nil {
		return err
	}
	_, err = watchtools.UntilWithSync(ctx, listWatch(resource, name), &unstructured.Unstructured{}, nil, func(event watch.Event) (bool, error) {
		obj, ok := event.Object.(*unstructured.Unstructured)
		if !ok || event.Type == watch.Deleted {
			return false, ErrMissing
		}
		return ready(obj)
	})
	if err == nil || errors.Is(err, ErrMissing) {
		return err
	}
	look, cancel = context.WithTimeout(context.WithoutCancel(ctx), why.Timeout)
	defer cancel()
	ref := apply.Ref{GroupVersionKind: last.GroupVersionKind(), Namespace: namespace, Name: name}
	return errors.New(why.NotReady(look, client, ref, last, missing))
}

// listWatch follows one object.
func listWatch(resource dynamic.ResourceInterface, name string) *toolscache.ListWatch {
	options := func(o *metav1.ListOptions) { o.FieldSelector = "metadata.name=" + name }
	return &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (list runtime.Object, err error) {
			options(&o)
			return resource.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			options(&o)
			return resource.Watch(ctx, o)
		},
	}
}
