package kustomize

import (
	"cmp"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// References returns what a Kustomization reads. Dependencies may lie in other namespaces even where cross-namespace
// references are forbidden, as with upstream; sources may not.
func (c *controller) References(k *kustomizev1.Kustomization) []kernel.Reference {
	refs := append([]kernel.Reference{sourceReference(k)}, configReferences(k)...)
	for _, d := range k.Spec.DependsOn {
		if foreign(d) {
			continue // followed while it is waited for, see foreign.go
		}
		refs = append(refs, kernel.Reference{
			Group: kustomizev1.GroupVersion.Group, Kind: kustomizev1.KustomizationKind, Namespace: d.Namespace, Name: d.Name, DependsOn: true,
		})
	}
	return refs
}

func sourceReference(k *kustomizev1.Kustomization) kernel.Reference {
	s := k.Spec.SourceRef
	return kernel.Reference{Group: sourcev1.GroupVersion.Group, Kind: s.Kind, Namespace: cmp.Or(s.Namespace, k.Namespace), Name: s.Name, Wake: kernel.OnRevision, Restricted: true}
}

// configReferences are the ConfigMaps and Secrets whose content decides what is applied, or where.
func configReferences(k *kustomizev1.Kustomization) []kernel.Reference {
	var refs []kernel.Reference
	if k.Spec.PostBuild != nil {
		for _, from := range k.Spec.PostBuild.SubstituteFrom {
			refs = append(refs, kernel.Reference{Kind: from.Kind, Name: from.Name})
		}
	}
	if d := k.Spec.Decryption; d != nil && d.SecretRef != nil {
		refs = append(refs, kernel.Secret(d.SecretRef.Name))
	}
	if kc := k.Spec.KubeConfig; kc != nil {
		if kc.SecretRef != nil {
			refs = append(refs, kernel.Secret(kc.SecretRef.Name))
		}
		if kc.ConfigMapRef != nil {
			refs = append(refs, kernel.ConfigMap(kc.ConfigMapRef.Name))
		}
	}
	return refs
}
