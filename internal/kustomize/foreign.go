package kustomize

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/apply/health"
)

// Dependencies of other kinds: any object with a status. They are read as the ServiceAccount of the Kustomization, in
// the controller's own cluster, and judged by the rules of health checks. While one is waited for, a watch of metadata
// wakes the Kustomization.

// foreign tells whether a dependency is of another kind.
func foreign(d meta.DependencyReference) bool {
	if d.APIVersion == "" && d.Kind == "" {
		return false
	}
	gv, err := schema.ParseGroupVersion(d.APIVersion)
	return err != nil || gv.Group != groupKind.Group || d.Kind != groupKind.Kind
}

// checkForeign says why a dependency of another kind is not ready.
func (c *controller) checkForeign(ctx context.Context, t *target, i int, follow *following) error {
	d := t.spec().DependsOn[i]
	if d.APIVersion == "" || d.Kind == "" {
		return fmt.Errorf("dependency '%s' of another kind needs both apiVersion and kind; correct spec.dependsOn", d.Name)
	}
	gvk := schema.FromAPIVersionAndKind(d.APIVersion, d.Kind)
	client, err := c.localClient(t.object)
	if err != nil {
		return err
	}
	mapping, err := client.Mapper().For(ctx, gvk)
	if err != nil {
		return fmt.Errorf("dependency '%s/%s': %w; correct apiVersion and kind in spec.dependsOn, or install the CustomResourceDefinition", d.Kind, d.Name, err)
	}
	name := types.NamespacedName{Namespace: cmp.Or(d.Namespace, t.object.Namespace), Name: d.Name}
	if !mapping.Namespaced {
		name.Namespace = ""
	}
	subject := (apply.Ref{GroupVersionKind: gvk, Namespace: name.Namespace, Name: name.Name}).Subject()
	// Followed before it is read, so that no change falls in between.
	follow.object(c, t.name(), mapping.Resource, name)
	dep, err := client.Dynamic().Resource(mapping.Resource).Namespace(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("dependency '%s' not found: %w; create it, or correct spec.dependsOn", subject, err)
	case err != nil:
		return fmt.Errorf("dependency '%s' cannot be read: %w", subject, err)
	}
	if asked, err := t.exprs.Ask(ctx, i, t.object, dep, subject); asked {
		return err
	}
	return judgeForeign(ctx, dep, subject)
}

// judgeForeign judges as a health check would.
func judgeForeign(ctx context.Context, dep *unstructured.Unstructured, subject string) error {
	state, message, err := health.Compute(ctx, dep, nil, false)
	switch {
	case err != nil:
		return fmt.Errorf("dependency '%s' has no status that can be judged: %w; give it a readyExpr", subject, err)
	case state != status.CurrentStatus:
		return fmt.Errorf("dependency '%s' is not ready: %s", subject, cmp.Or(message, string(state)))
	}
	return nil
}

// localClient is a client for the controller's own cluster, as the ServiceAccount of the Kustomization.
func (c *controller) localClient(k *kustomizev1.Kustomization) (*apply.Client, error) {
	config := c.m.RESTConfig()
	if account := c.m.ServiceAccount(k.Spec.ServiceAccountName); account != "" {
		config.Impersonate = rest.ImpersonationConfig{UserName: fmt.Sprintf("system:serviceaccount:%s:%s", k.Namespace, account)}
	}
	client, err := c.Clients.Get(config, "")
	if err != nil {
		return nil, errors.Join(errors.New("failed to build kube client"), err)
	}
	return client, nil
}

// foreignWatches are the dependencies of other kinds that somebody waits for.
type foreignWatches struct {
	mu sync.Mutex
	of map[types.NamespacedName]*following
}

func newForeignWatches() *foreignWatches {
	return &foreignWatches{of: map[types.NamespacedName]*following{}}
}

// following is what one Kustomization follows. A check begins anew with what is reached; what is not is let go.
type following struct {
	mu      sync.Mutex
	stops   map[string]func()
	reached map[string]bool
}

// renew begins a check.
func (w *foreignWatches) renew(name types.NamespacedName) *following {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.of[name]
	if f == nil {
		f = &following{stops: map[string]func(){}}
		w.of[name] = f
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reached = map[string]bool{}
	return f
}

// drop ends all for a Kustomization that goes.
func (w *foreignWatches) drop(name types.NamespacedName) {
	w.mu.Lock()
	f := w.of[name]
	delete(w.of, name)
	w.mu.Unlock()
	if f != nil {
		f.ready()
		f.done()
	}
}

// object follows one object.
func (f *following) object(c *controller, self types.NamespacedName, resource schema.GroupVersionResource, name types.NamespacedName) {
	if c.Health == nil {
		return // --requeue-dependency has to do
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key := resource.String() + "/" + name.String()
	f.reached[key] = true
	if f.stops[key] == nil {
		f.stops[key] = c.Health.Follow(resource, name.Namespace, name.Name, func() { c.m.Wake(groupKind, self) })
	}
}

// ready says that nothing is waited for any more.
func (f *following) ready() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reached = nil
}

// done lets go what the check did not come to.
func (f *following) done() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, stop := range f.stops {
		if !f.reached[key] {
			delete(f.stops, key)
			stop()
		}
	}
}
