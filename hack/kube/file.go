package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// applyFile applies every document of a YAML file with server-side apply and names each.
func applyFile(ctx context.Context, kubeconfig, manager, path string) error {
	c, err := connect(kubeconfig)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for docs := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096); ; {
		o := &unstructured.Unstructured{}
		if err := docs.Decode(&o.Object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read %s: %w", path, err)
		}
		if len(o.Object) == 0 {
			continue
		}
		if err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner(manager), client.ForceOwnership); err != nil {
			return fmt.Errorf("apply %s %s/%s: %w", o.GetKind(), o.GetNamespace(), o.GetName(), err)
		}
		fmt.Printf("%s/%s applied\n", o.GetKind(), o.GetName())
	}
}

func connect(kubeconfig string) (client.WithWatch, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	return client.NewWithWatch(cfg, client.Options{})
}

// object names an object of a core or apps kind.
func object(c client.Client, kind, namespace, name string) (*unstructured.Unstructured, error) {
	for _, gv := range []schema.GroupVersion{{Version: "v1"}, {Group: "apps", Version: "v1"}} {
		if _, err := c.RESTMapper().RESTMapping(gv.WithKind(kind).GroupKind(), gv.Version); err == nil {
			o := &unstructured.Unstructured{}
			o.SetGroupVersionKind(gv.WithKind(kind))
			o.SetNamespace(namespace)
			o.SetName(name)
			return o, nil
		}
	}
	return nil, fmt.Errorf("no core or apps kind is named %s", kind)
}

func deleteObject(ctx context.Context, kubeconfig, kind, namespace, name string) error {
	c, err := connect(kubeconfig)
	if err != nil {
		return err
	}
	o, err := object(c, kind, namespace, name)
	if err != nil {
		return err
	}
	if err := c.Delete(ctx, o, client.PropagationPolicy("Background")); err != nil {
		return err
	}
	fmt.Printf("%s/%s deleted at %s\n", kind, name, time.Now().Format("15:04:05.000"))
	return nil
}

func awaitObject(ctx context.Context, kubeconfig, kind, namespace, name string) error {
	c, err := connect(kubeconfig)
	if err != nil {
		return err
	}
	o, err := object(c, kind, namespace, name)
	if err != nil {
		return err
	}
	for {
		err := c.Get(ctx, client.ObjectKeyFromObject(o), o)
		if err == nil {
			fmt.Printf("%s/%s is there since %s\n", kind, name, o.GetCreationTimestamp().Format("15:04:05"))
			return nil
		}
		if !apierrors.IsNotFound(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s/%s never came", kind, name)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
