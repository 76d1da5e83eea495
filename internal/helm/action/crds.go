package action

import (
	"context"
	"errors"
	"fmt"
	"time"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"
	helmkube "helm.sh/helm/v4/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/gitops-toolkit/flux/internal/helm/charts"
	"github.com/gitops-toolkit/flux/internal/helm/kube"
	"github.com/gitops-toolkit/flux/internal/helm/postrender"
	"github.com/gitops-toolkit/flux/internal/helm/release"
)

// What to do with the definitions in crds/ of a chart.
const (
	crdSkip          = "Skip"
	crdCreate        = "Create"
	crdCreateReplace = "CreateReplace"
)

// crdTimeout bounds the wait until definitions are established.
const crdTimeout = time.Minute

var crdResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// definitions applies the definitions of a chart and its enabled subcharts before the action itself.
func (r *Runner) definitions(ctx context.Context, c *chart.Chart, values map[string]any, policy string, serverSide bool) error {
	if policy == crdSkip || len(c.CRDObjects()) == 0 {
		return nil
	}
	c = charts.Clone(c) // the action itself switches the subcharts of the original
	if err := enable(c, values); err != nil {
		return err
	}
	objects, err := r.definitionsOf(c)
	if err != nil {
		return fmt.Errorf("failed to apply CustomResourceDefinitions: %w", err)
	}
	if len(objects) == 0 {
		return nil
	}
	r.debug(fmt.Sprintf("applying CustomResourceDefinition(s) with policy %s", policy))
	client := r.Cluster.Client(kube.Options{ServerSide: true, Adopt: true, Validate: true, WaitContext: context.WithoutCancel(ctx), Watch: r.Watch, Log: r.Log})
	var written helmkube.ResourceList
	for _, o := range objects {
		list, err := r.writeDefinition(ctx, client, o, policy, serverSide)
		if err != nil {
			return fmt.Errorf("failed to apply CustomResourceDefinitions: %s: %w", o.GetName(), err)
		}
		written = append(written, list...)
	}
	waiter, err := client.GetWaiter(strategy)
	if err == nil {
		err = waiter.Wait(written, crdTimeout)
	}
	if err != nil {
		return fmt.Errorf("failed to apply CustomResourceDefinitions: %w", err)
	}
	for _, o := range objects {
		r.Cluster.Apply().Mapper().Learn(o)
	}
	r.debug(fmt.Sprintf("successfully applied %d CustomResourceDefinition(s)", len(written)))
	return nil
}

func (r *Runner) debug(message string) {
	if r.Log != nil {
		r.Log.Add(message)
	}
}

// definitionsOf reads the definitions; what else stands in crds/ is passed over.
func (r *Runner) definitionsOf(c *chart.Chart) ([]*unstructured.Unstructured, error) {
	origin := &postrender.Renderer{Labels: postrender.Origin(r.Object.Namespace, r.Object.Name)}
	var out []*unstructured.Unstructured
	for _, crd := range c.CRDObjects() {
		objects, err := release.Objects(string(crd.File.Data))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", crd.Filename, err)
		}
		for _, o := range objects {
			if !release.IsCRD(o) {
				r.debug(fmt.Sprintf("%s: %s %s is no CustomResourceDefinition and is ignored", crd.Filename, o.GetKind(), o.GetName()))
				continue
			}
			origin.Mark(o)
			out = append(out, o)
		}
	}
	return out, nil
}

func (r *Runner) writeDefinition(ctx context.Context, client *kube.Client, o *unstructured.Unstructured, policy string, serverSide bool) (helmkube.ResourceList, error) {
	list, err := client.BuildObjects(o)
	if err != nil {
		return nil, err
	}
	if serverSide {
		_, err := client.Create(list)
		return list, err
	}
	resource := r.Cluster.Apply().Dynamic().Resource(crdResource)
	_, err = resource.Create(ctx, o, metav1.CreateOptions{FieldManager: kube.FieldManager})
	if !apierrors.IsAlreadyExists(err) {
		return list, err
	}
	if policy != crdCreateReplace {
		r.debug(fmt.Sprintf("CustomResourceDefinition %s is already present. Skipping.", o.GetName()))
		return nil, nil
	}
	live, err := resource.Get(ctx, o.GetName(), metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	replacement := o.DeepCopy()
	replacement.SetResourceVersion(live.GetResourceVersion())
	_, err = resource.Update(ctx, replacement, metav1.UpdateOptions{FieldManager: kube.FieldManager})
	return list, err
}

// enable switches the subcharts of a chart on and off by their conditions and tags, as an action would: definitions of
// subcharts that are off are not applied.
func enable(c *chart.Chart, values map[string]any) error {
	if err := chartutil.ProcessDependencies(c, values); err != nil {
		return fmt.Errorf("chart dependencies processing failed: %w", err)
	}
	return nil
}

// Cancelled tells whether an action failed because its wait was cancelled.
func Cancelled(err error) bool { return errors.Is(err, kube.ErrCancelled) }
