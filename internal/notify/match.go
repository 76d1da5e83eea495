package notify

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

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
		return nil // a ping, or an event that is not about a repository
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
	var errs []error
	for i := range list.Items {
		source, ok := sourceOf(&list.Items[i])
		if !ok || !t.push.Concerns(source) {
			continue
		}
		obj := &metav1.PartialObjectMetadata{}
		obj.SetGroupVersionKind(kind)
		obj.Name, obj.Namespace = list.Items[i].GetName(), list.Items[i].GetNamespace()
		obj.Labels, obj.Annotations = list.Items[i].GetLabels(), list.Items[i].GetAnnotations()
		errs = append(errs, t.annotate(ctx, obj, filter))
	}
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

// asked remembers for a while which pushes objects were told of, so that a push which comes through
// several Receivers is one reconciliation.
type asked struct {
	mu    sync.Mutex
	until map[string]time.Time
}

// askedFor is how long calls about one push may be apart.
const askedFor = 10 * time.Second

// first tells whether an object hears of a push for the first time. Calls that do not say what was
// pushed are each for themselves.
func (a *asked) first(object, identity string) bool {
	if identity == "" {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for key, until := range a.until {
		if now.After(until) {
			delete(a.until, key)
		}
	}
	key := object + " " + identity
	if _, known := a.until[key]; known {
		return false
	}
	if a.until == nil {
		a.until = map[string]time.Time{}
	}
	a.until[key] = now.Add(askedFor)
	return true
}

// again lets the next call about a push tell the object, because this one could not.
func (a *asked) again(object, identity string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.until, object+" "+identity)
}
