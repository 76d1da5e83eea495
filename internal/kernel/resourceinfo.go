package kernel

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gitops-toolkit/flux/internal/kernel/info"
)

// resourceInfo serves gotk_resource_info of one kind, from the cache, for clusters without
// kube-state-metrics. The leader alone serves it, so that nothing counts twice.
type resourceInfo struct {
	engine *engine
	kind   info.Kind
}

// scrapeLimit bounds the reading of the cache.
const scrapeLimit = 5 * time.Second

// Describe describes nothing: kinds differ in their labels.
func (r *resourceInfo) Describe(chan<- *prometheus.Desc) {}

// Collect makes one series for each object.
func (r *resourceInfo) Collect(out chan<- prometheus.Metric) {
	e := r.engine
	if e.queue.Load() == nil {
		return
	}
	gvk := e.gvk
	gvk.Kind += "List"
	made, err := e.m.process.manager.GetScheme().New(gvk)
	list, ok := made.(client.ObjectList)
	if err != nil || !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	if err := e.objects.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return
	}
	_ = apimeta.EachListItem(list, func(item runtime.Object) error {
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(item)
		if err != nil {
			return nil //nolint:nilerr // one odd object hides no other
		}
		values := r.kind.Values(content)
		names := slices.Sorted(maps.Keys(values))
		texts := make([]string, len(names))
		for i, name := range names {
			texts[i] = values[name]
		}
		desc := prometheus.NewDesc(info.Name, "The current state of a GitOps Toolkit resource.", names, nil)
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, 1, texts...)
		return nil
	})
}
