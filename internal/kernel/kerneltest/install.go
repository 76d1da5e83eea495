package kerneltest

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

//go:embed crd.yaml
var crd []byte

// install creates the CRD of the test kind where it is missing and waits until it is served.
func install(ctx context.Context, config *rest.Config) error {
	obj := &unstructured.Unstructured{}
	if err := yaml.Unmarshal(crd, &obj.Object); err != nil {
		return fmt.Errorf("the CRD of the test kind: %w", err)
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	crds := client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	if _, err := crds.Apply(ctx, obj.GetName(), obj, metav1.ApplyOptions{FieldManager: "kerneltest", Force: true}); err != nil {
		return fmt.Errorf("install the CRD of the test kind: %w", err)
	}
	probes := client.Resource(GroupVersion.WithResource("probes"))
	return wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		_, err := probes.List(ctx, metav1.ListOptions{Limit: 1})
		return err == nil, ignoreMissing(err)
	})
}

// ignoreMissing passes on everything but the answers of a server that does not serve a kind yet.
func ignoreMissing(err error) error {
	if err == nil || meta.IsNoMatchError(err) || isNotServed(err) {
		return nil
	}
	return err
}

func isNotServed(err error) bool {
	status, ok := err.(interface{ Status() metav1.Status })
	return ok && (status.Status().Code == 404 || status.Status().Code >= 500 || status.Status().Code == 429)
}
