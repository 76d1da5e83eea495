package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/gitops-toolkit/flux/api/meta"
	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// followStatic watches Alerts and Providers, which makes the cache know them, and removes what older
// versions left on them.
func followStatic(m *kernel.Manager) error {
	for _, s := range []*static{
		{m, alertKind, func() client.Object { return &notificationv1.Alert{} }, func(o client.Object) bool { return o.(*notificationv1.Alert).Spec.Suspend }},
		{m, providerKind, func() client.Object { return &notificationv1.Provider{} }, func(o client.Object) bool { return o.(*notificationv1.Provider).Spec.Suspend }},
	} {
		skip, no := true, false
		c, err := controller.NewUnmanaged(strings.ToLower(s.kind.Kind), controller.Options{
			Reconciler: s, SkipNameValidation: &skip, NeedLeaderElection: &no, MaxConcurrentReconciles: m.Settings().Concurrent,
		})
		if err != nil {
			return fmt.Errorf("follow %s: %w", s.kind.Kind, err)
		}
		if err := c.Watch(source.Kind(m.Cache(), s.newObject(), &handler.EnqueueRequestForObject{})); err != nil {
			return fmt.Errorf("follow %s: %w", s.kind.Kind, err)
		}
		m.Add(c.Start)
	}
	return nil
}

// static is a kind that is not reconciled any more.
type static struct {
	m         *kernel.Manager
	kind      schema.GroupVersionKind
	newObject func() client.Object
	suspended func(client.Object) bool
}

// Reconcile removes the finalizer of the time when the kind was reconciled. A suspended object keeps
// it, unless it is about to go.
func (s *static) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	obj := s.newObject()
	if err := s.m.Client().Get(ctx, req.NamespacedName, obj); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !slices.Contains(obj.GetFinalizers(), meta.Finalizer) || s.suspended(obj) && obj.GetDeletionTimestamp().IsZero() {
		return reconcile.Result{}, nil
	}
	rest := slices.DeleteFunc(slices.Clone(obj.GetFinalizers()), func(f string) bool { return f == meta.Finalizer })
	data, err := json.Marshal(map[string]any{"metadata": map[string]any{"finalizers": rest, "resourceVersion": obj.GetResourceVersion()}})
	if err != nil {
		return reconcile.Result{}, err
	}
	if err := s.m.Client().Patch(ctx, obj, client.RawPatch(types.MergePatchType, data), client.FieldOwner(s.m.Name())); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	s.m.Record(obj, s.kind, kernel.Normal("Migration", fmt.Sprintf("removed finalizer from %s to migrate to static %s", s.kind.Kind, s.kind.Kind), nil))
	return reconcile.Result{}, nil
}
