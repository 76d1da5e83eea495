package helm

import (
	"cmp"

	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// References returns what a HelmRelease reads.
func (c *controller) References(hr *helmv2.HelmRelease) []kernel.Reference {
	var refs []kernel.Reference
	if ref, ok := sourceReference(hr); ok {
		refs = append(refs, ref)
	}
	refs = append(refs, configReferences(hr)...)
	for _, d := range hr.Spec.DependsOn {
		refs = append(refs, kernel.Reference{
			Group: helmv2.GroupVersion.Group, Kind: helmv2.HelmReleaseKind, Namespace: d.Namespace, Name: d.Name, DependsOn: true, Wake: kernel.OnReady | kernel.OnSpec,
		})
	}
	return refs
}

// sourceReference names the object that offers the chart: one of its own where the spec has a template.
func sourceReference(hr *helmv2.HelmRelease) (kernel.Reference, bool) {
	ref := kernel.Reference{Group: sourcev1.GroupVersion.Group, Wake: kernel.OnRevision | kernel.OnReady | kernel.OnFailure, Restricted: true}
	switch {
	case hr.Spec.ChartRef != nil:
		ref.Kind, ref.Namespace, ref.Name = hr.Spec.ChartRef.Kind, hr.Spec.ChartRef.Namespace, hr.Spec.ChartRef.Name
	case hr.Spec.Chart != nil:
		ref.Kind, ref.Namespace, ref.Name = sourcev1.HelmChartKind, chartNamespace(hr), chartObjectName(hr)
	default:
		return ref, false
	}
	ref.Namespace = cmp.Or(ref.Namespace, hr.Namespace)
	return ref, true
}

// chartNamespace is that of the HelmChart which is made from the template: that of its source.
func chartNamespace(hr *helmv2.HelmRelease) string {
	return cmp.Or(hr.Spec.Chart.Spec.SourceRef.Namespace, hr.Namespace)
}

// chartObjectName is the name of the HelmChart which is made from the template.
func chartObjectName(hr *helmv2.HelmRelease) string { return hr.Namespace + "-" + hr.Name }

// configReferences are the ConfigMaps and Secrets whose content decides what is released, or where.
func configReferences(hr *helmv2.HelmRelease) []kernel.Reference {
	var refs []kernel.Reference
	for _, v := range hr.Spec.ValuesFrom {
		refs = append(refs, kernel.Reference{Kind: v.Kind, Name: v.Name})
	}
	if kc := hr.Spec.KubeConfig; kc != nil {
		if kc.SecretRef != nil {
			refs = append(refs, kernel.Secret(kc.SecretRef.Name))
		}
		if kc.ConfigMapRef != nil {
			refs = append(refs, kernel.ConfigMap(kc.ConfigMapRef.Name))
		}
	}
	return refs
}
