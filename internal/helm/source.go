package helm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	"github.com/gitops-toolkit/flux/api/meta"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/artifact"
	"github.com/gitops-toolkit/flux/internal/helm/kube"
	"github.com/gitops-toolkit/flux/internal/helm/postrender"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Reasons of the events about HelmCharts.
const (
	chartCreated    = "HelmChartCreated"
	chartConfigured = "HelmChartConfigured"
	chartDeleted    = "HelmChartDeleted"
	chartSyncErr    = "HelmChartSyncErr"
)

// keepHelmChart makes the HelmChart of a template, and deletes one that is wanted no more.
func (c *controller) keepHelmChart(ctx context.Context, req *request, t *target) *kernel.Outcome {
	status := &req.Object.Status
	wanted := ""
	if t.spec().Chart != nil {
		wanted = chartNamespace(t.object) + "/" + chartObjectName(t.object)
	}
	if old := status.HelmChart; old != "" && old != wanted {
		if err := c.deleteHelmChart(ctx, t.object, old); err != nil {
			err = fmt.Errorf("failed to delete HelmChart '%s': %w", old, err)
			return stop(kernel.Failed(chartSyncErr, err).Backoff())
		}
		req.Event(kernel.Trace(chartDeleted, fmt.Sprintf("Deleted HelmChart '%s'", old), nil))
		status.HelmChart = ""
	}
	if wanted == "" {
		return nil
	}
	reason, err := c.applyHelmChart(ctx, t.object)
	if err != nil {
		return stop(kernel.Failed(chartSyncErr, fmt.Errorf("failed to apply HelmChart '%s': %w", wanted, err)).Backoff())
	}
	if reason != "" {
		source := t.spec().Chart.Spec.SourceRef
		word := map[string]string{chartCreated: "Created", chartConfigured: "Configured"}[reason]
		req.Event(kernel.Trace(reason, fmt.Sprintf("%s HelmChart/%s with SourceRef '%s/%s/%s'", word, wanted, source.Kind,
			cmp.Or(source.Namespace, t.object.Namespace), source.Name), nil))
	}
	status.HelmChart = wanted
	if reason != "" {
		// What the cache shows is older than what was just written; the chart wakes us when it is ready.
		why := notReady(kernel.Reference{Kind: sourcev1.HelmChartKind, Namespace: chartNamespace(t.object), Name: chartObjectName(t.object)},
			"latest generation of object has not been reconciled")
		return stop(kernel.Waiting(sourceNotReady, why, c.m.Settings().RequeueDependency))
	}
	return nil
}

// helmChart is what the template asks for.
func helmChart(hr *helmv2.HelmRelease) *sourcev1.HelmChart {
	template := hr.Spec.Chart
	s := template.Spec
	out := &sourcev1.HelmChart{ObjectMeta: metav1.ObjectMeta{Namespace: chartNamespace(hr), Name: chartObjectName(hr), Labels: map[string]string{}}}
	out.APIVersion, out.Kind = sourcev1.GroupVersion.String(), sourcev1.HelmChartKind
	if m := template.ObjectMeta; m != nil {
		maps.Copy(out.Labels, m.Labels)
		out.Annotations = maps.Clone(m.Annotations)
	}
	maps.Copy(out.Labels, postrender.Origin(hr.Namespace, hr.Name))
	out.Spec = sourcev1.HelmChartSpec{
		Chart: s.Chart, Version: cmp.Or(s.Version, "*"),
		SourceRef:         sourcev1.LocalHelmChartSourceReference{APIVersion: s.SourceRef.APIVersion, Kind: s.SourceRef.Kind, Name: s.SourceRef.Name},
		ReconcileStrategy: cmp.Or(s.ReconcileStrategy, sourcev1.ReconcileStrategyChartVersion),
		ValuesFiles:       s.ValuesFiles, IgnoreMissingValuesFiles: s.IgnoreMissingValuesFiles,
		Interval: hr.Spec.Interval,
	}
	if s.Interval != nil {
		out.Spec.Interval = *s.Interval
	}
	out.Spec.Interval = plain(out.Spec.Interval)
	if v := s.Verify; v != nil {
		out.Spec.Verify = &sourcev1.HelmChartVerification{Provider: v.Provider, SecretRef: v.SecretRef}
	}
	return out
}

// applyHelmChart brings the HelmChart in step where it is not, and returns the reason of the event, if there is one.
func (c *controller) applyHelmChart(ctx context.Context, hr *helmv2.HelmRelease) (string, error) {
	wanted := helmChart(hr)
	live := &sourcev1.HelmChart{}
	err := c.m.Client().Get(ctx, client.ObjectKeyFromObject(wanted), live)
	reason := chartConfigured
	switch {
	case apierrors.IsNotFound(err):
		reason = chartCreated
	case err != nil:
		return "", err
	case live.DeletionTimestamp == nil && sameChart(live, wanted):
		return "", nil
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(wanted)
	if err != nil {
		return "", err
	}
	delete(content, "status")
	u := &unstructured.Unstructured{Object: content}
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	return reason, c.m.Client().Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(kube.FieldManager), client.ForceOwnership)
}

// plain is a duration as programs write it, so that another text for the same time is no new generation. One that makes no
// sense stays for the HelmChart to tell.
func plain(d meta.Duration) meta.Duration {
	if d.Err() != nil {
		return d
	}
	return meta.NewDuration(d.Duration)
}

// sameChart tells whether a HelmChart is as wanted; labels and annotations of others may be there.
func sameChart(live, wanted *sourcev1.HelmChart) bool {
	spec := live.Spec.DeepCopy()
	spec.Interval = plain(spec.Interval)
	spec.Suspend = wanted.Spec.Suspend
	spec.SourceRef.APIVersion = wanted.Spec.SourceRef.APIVersion
	return reflect.DeepEqual(*spec, wanted.Spec) && contains(live.Labels, wanted.Labels) && contains(live.Annotations, wanted.Annotations)
}

func contains(all, some map[string]string) bool {
	for k, v := range some {
		if got, ok := all[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// deleteHelmChart deletes a HelmChart that was made for the object, and only such a one.
func (c *controller) deleteHelmChart(ctx context.Context, hr *helmv2.HelmRelease, full string) error {
	namespace, name, ok := strings.Cut(full, "/")
	if !ok {
		return nil
	}
	live := &sourcev1.HelmChart{}
	err := c.m.Live().Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, live)
	if apierrors.IsNotFound(err) || err == nil && !contains(live.Labels, postrender.Origin(hr.Namespace, hr.Name)) {
		return nil
	}
	if err != nil {
		return err
	}
	return client.IgnoreNotFound(c.m.Client().Delete(ctx, live, client.Preconditions{UID: &live.UID}))
}

// findSource looks up the object that offers the chart, and its artifact.
func (c *controller) findSource(ctx context.Context, t *target) *kernel.Outcome {
	t.source, _ = sourceReference(t.object)
	source, stopped := c.sourceObject(t)
	if stopped != nil {
		return stopped
	}
	var reader client.Reader = c.m.Client()
	if c.m.Gate(kernel.GateDirectSourceFetch) {
		reader = c.m.Live()
	}
	err := reader.Get(ctx, types.NamespacedName{Namespace: t.source.Namespace, Name: t.source.Name}, source)
	if apierrors.IsNotFound(err) && t.spec().Chart != nil {
		// The cache does not show yet what was just made.
		return stop(kernel.Waiting(sourceNotReady, notReady(t.source, "it was just made"), c.m.Settings().RequeueDependency))
	}
	if err != nil {
		return stop(kernel.Failed(meta.ArtifactFailedReason, fmt.Errorf("could not get Source object: %w", err)).Backoff())
	}
	if why := unready(source); why != "" {
		return stop(kernel.Waiting(sourceNotReady, notReady(t.source, why), c.m.Settings().RequeueDependency))
	}
	t.ref = artifact.RefOf(source.GetArtifact())
	t.marked = t.source.Kind == sourcev1.OCIRepositoryKind || t.source.Kind == sourcev1.ExternalArtifactKind && strings.Contains(t.ref.Revision, ":")
	return nil
}

const sourceNotReady = "SourceNotReady"

func notReady(ref kernel.Reference, why string) string {
	return fmt.Sprintf("%s '%s/%s' is not ready: %s", ref.Kind, ref.Namespace, ref.Name, why)
}

func (c *controller) sourceObject(t *target) (meta.Source, *kernel.Outcome) {
	switch t.source.Kind {
	case sourcev1.HelmChartKind:
		return &sourcev1.HelmChart{}, nil
	case sourcev1.OCIRepositoryKind:
		return &sourcev1.OCIRepository{}, nil
	case sourcev1.ExternalArtifactKind:
		if !c.m.Gate(kernel.GateExternalArtifact) {
			return nil, stop(kernel.Stalled(meta.AccessDeniedReason, fmt.Errorf("can't access '%s', ExternalArtifact feature gate is disabled", t.source)).KeepObservedGeneration())
		}
		return &sourcev1.ExternalArtifact{}, nil
	}
	return nil, stop(kernel.Stalled(invalidChartReason, errors.New("spec.chartRef.kind: "+t.source.Kind+" offers no charts")))
}

// unready says why a source cannot be used, "" when it can: one that is not Ready but has an artifact of its present
// spec can. An ExternalArtifact needs nothing but an artifact.
func unready(source meta.Source) string {
	if _, external := source.(*sourcev1.ExternalArtifact); !external {
		ready := apimeta.FindStatusCondition(source.GetConditions(), meta.ReadyCondition)
		if source.GetGeneration() != source.GetObservedGeneration() {
			if ready != nil && ready.Status == metav1.ConditionFalse {
				return ready.Message
			}
			return "latest generation of object has not been reconciled"
		}
		if stalled := apimeta.FindStatusCondition(source.GetConditions(), meta.StalledCondition); stalled != nil && stalled.Status == metav1.ConditionTrue {
			return stalled.Message
		}
	}
	if source.GetArtifact() == nil {
		return "does not have an artifact"
	}
	return ""
}
