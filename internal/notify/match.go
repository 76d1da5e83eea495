package notify

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
	"github.com/gitops-toolkit/flux/internal/cel"
	"github.com/gitops-toolkit/flux/internal/notify/push"
)

// allNamespaces is the namespace that stands for all, in a Receiver that matches repositories.
const allNamespaces = "*"

// matched asks those of a kind's objects for a reconciliation that the push concerns.
func (t *trigger) matched(ctx context.Context, kind schema.GroupVersionKind, namespace string, ref notificationv1.CrossNamespaceObjectReference, filter *cel.Expression) error {
	if t.push == nil {
		return nil // a ping, a star, or whatever else moves no reference
	}
	options := []client.ListOption{client.MatchingLabels(ref.MatchLabels)}
	if namespace != allNamespaces {
		options = append(options, client.InNamespace(namespace))
	}
	if ref.Name != "*" {
		options = append(options, client.MatchingFields{"metadata.name": ref.Name})
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind)
	if err := t.m.Live().List(ctx, list, options...); err != nil {
		return err
	}
	errs := make([]error, len(list.Items))
	var waiting sync.WaitGroup
	for i := range list.Items {
		source, ok := sourceOf(&list.Items[i])
		if !ok || !t.push.Concerns(source) {
			continue
		}
		obj := &metav1.PartialObjectMetadata{}
		obj.SetGroupVersionKind(kind)
		obj.Name, obj.Namespace = list.Items[i].GetName(), list.Items[i].GetNamespace()
		obj.Labels, obj.Annotations = list.Items[i].GetLabels(), list.Items[i].GetAnnotations()
		if source.Many() {
			waiting.Go(func() { errs[i] = t.consider(ctx, obj, filter, true) })
		} else {
			errs[i] = t.consider(ctx, obj, filter, false)
		}
	}
	waiting.Wait()
	return errors.Join(errs...)
}

// sourceOf reads which repository an object uses; false: none.
func sourceOf(obj *unstructured.Unstructured) (push.Source, bool) {
	spec := func(fields ...string) string {
		s, _, _ := unstructured.NestedString(obj.Object, append([]string{"spec"}, fields...)...)
		return s
	}
	switch obj.GetKind() {
	case "GitRepository":
		s := push.Source{Address: spec("url"), Refs: gitRefs(spec)}
		s.Directories, _, _ = unstructured.NestedStringSlice(obj.Object, "spec", "sparseCheckout")
		return s, true
	case "OCIRepository":
		s := push.Source{Address: spec("url")}
		if tag := spec("ref", "tag"); tag != "" && spec("ref", "semver") == "" {
			s.Refs = []string{tag}
		}
		return s, spec("ref", "digest") == ""
	case "HelmRepository":
		return push.Source{Address: spec("url"), Prefix: true}, strings.HasPrefix(spec("url"), "oci://")
	case "ImageRepository":
		image, err := name.NewRepository(spec("image"))
		if err != nil {
			return push.Source{}, false
		}
		return push.Source{Address: image.Name()}, true
	}
	return push.Source{}, false
}

// gitRefs are the references that a GitRepository follows, in the order of their weight.
func gitRefs(spec func(...string) string) []string {
	switch {
	case spec("ref", "name") != "":
		return []string{spec("ref", "name")}
	case spec("ref", "semver") != "":
		return []string{"refs/tags/*"}
	case spec("ref", "tag") != "":
		return []string{"refs/tags/" + spec("ref", "tag")}
	case spec("ref", "branch") != "":
		return []string{"refs/heads/" + spec("ref", "branch")}
	case spec("ref", "commit") != "":
		return nil
	}
	return []string{"refs/heads/master"}
}
