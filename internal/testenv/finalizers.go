package testenv

import (
	"context"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// release takes the finalizers off the custom resources of a namespace. Nobody is left to finalize them
// after a test, and every namespace that cannot go keeps the API server busy for the rest of the run.
func release(ctx context.Context, t testing.TB, cfg *rest.Config, namespace string) {
	t.Helper()
	kinds, err := customKinds(cfg)
	if err != nil {
		t.Logf("find the custom resources of %s: %v", namespace, err)
		return
	}
	client, err := metadata.NewForConfig(cfg)
	if err != nil {
		t.Logf("take the finalizers off the objects of %s: %v", namespace, err)
		return
	}
	for _, kind := range kinds {
		in := client.Resource(kind).Namespace(namespace)
		list, err := in.List(ctx, metav1.ListOptions{})
		if err != nil {
			continue // a definition that a test has taken away
		}
		for _, o := range list.Items {
			if len(o.Finalizers) > 0 {
				_, _ = in.Patch(ctx, o.Name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
			}
		}
	}
}

var (
	kindsOnce sync.Once
	kinds     []schema.GroupVersionResource
	kindsErr  error
)

// customKinds are the namespaced kinds of groups that are not Kubernetes' own, looked up once a process.
func customKinds(cfg *rest.Config) ([]schema.GroupVersionResource, error) {
	kindsOnce.Do(func() {
		client, err := discovery.NewDiscoveryClientForConfig(cfg)
		if err != nil {
			kindsErr = err
			return
		}
		lists, err := client.ServerPreferredNamespacedResources()
		if err != nil && len(lists) == 0 {
			kindsErr = err
			return
		}
		for _, list := range lists {
			gv, err := schema.ParseGroupVersion(list.GroupVersion)
			if err != nil || !strings.Contains(gv.Group, ".") || strings.HasSuffix(gv.Group, ".k8s.io") {
				continue
			}
			for _, r := range list.APIResources {
				kinds = append(kinds, gv.WithResource(r.Name))
			}
		}
	})
	return kinds, kindsErr
}
