// Command kube is the little of kubectl that tests and demos need on machines without it.
//
// Usage:
//
//	kube [-kubeconfig FILE] crds                             install our definitions, wait until they are served
//	kube [-kubeconfig FILE] apply [-manager NAME] FILE       server-side apply of the documents of a file
//	kube [-kubeconfig FILE] delete KIND NAMESPACE NAME       delete one object of a core or apps kind
//	kube [-kubeconfig FILE] await KIND NAMESPACE NAME        wait until the object is there and say when it came
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/gitops-toolkit/flux/manifests"
)

var crdResource = apiextensionsv1.SchemeGroupVersion.WithResource("customresourcedefinitions")

func main() {
	kubeconfig := flag.String("kubeconfig", os.Getenv("KUBECONFIG"), "file with the cluster's address and credentials")
	manager := flag.String("manager", "kubectl", "field manager of apply")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := dispatch(ctx, *kubeconfig, *manager, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "kube:", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, kubeconfig, manager string, args []string) error {
	word := ""
	if len(args) > 0 {
		word = args[0]
	}
	switch {
	case word == "crds" && len(args) == 1:
		return run(ctx, kubeconfig)
	case word == "apply" && len(args) == 2:
		return applyFile(ctx, kubeconfig, manager, args[1])
	case word == "delete" && len(args) == 4:
		return deleteObject(ctx, kubeconfig, args[1], args[2], args[3])
	case word == "await" && len(args) == 4:
		return awaitObject(ctx, kubeconfig, args[1], args[2], args[3])
	default:
		return errors.New("say crds, apply FILE, delete KIND NAMESPACE NAME, or await KIND NAMESPACE NAME")
	}
}

func run(ctx context.Context, kubeconfig string) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	cfg.QPS = -1
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return err
	}
	crds, err := manifests.CRDs()
	if err != nil {
		return err
	}
	definitions := client.Resource(crdResource)
	for _, crd := range crds {
		if _, err := definitions.Apply(ctx, crd.GetName(), crd, metav1.ApplyOptions{FieldManager: "flux", Force: true}); err != nil {
			return fmt.Errorf("apply %s: %w", crd.GetName(), err)
		}
	}
	for _, crd := range crds {
		err := wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			live, err := definitions.Get(ctx, crd.GetName(), metav1.GetOptions{})
			return err == nil && established(live), err
		})
		if err != nil {
			return fmt.Errorf("wait until %s is established: %w", crd.GetName(), err)
		}
	}
	fmt.Printf("%d definitions are established\n", len(crds))
	return nil
}

func established(crd *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, c := range conditions {
		m, ok := c.(map[string]any)
		if ok && m["type"] == string(apiextensionsv1.Established) {
			return m["status"] == "True"
		}
	}
	return false
}
