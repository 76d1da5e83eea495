// Package spec reads the spec of a Kustomization: what it merges into the kustomization.yaml, what it substitutes, and what
// it puts on the objects. The controller reads it here, and so do `flux build`, `flux diff` and `flux debug`, which
// therefore show what the controller does.
package spec

import (
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/resid"

	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/kustomize/build"
)

// FieldManager owns the fields of applied objects.
const FieldManager = "kustomize-controller"

// Merged is what is merged into the kustomization.yaml.
func Merged(s *kustomizev1.KustomizationSpec) build.Spec {
	out := build.Spec{
		TargetNamespace: s.TargetNamespace, NamePrefix: s.NamePrefix, NameSuffix: s.NameSuffix,
		Components: s.Components, IgnoreMissingComponents: s.IgnoreMissingComponents, BuildMetadata: s.BuildMetadata,
	}
	for _, p := range s.Patches {
		out.Patches = append(out.Patches, types.Patch{Patch: p.Patch, Target: selector(p.Target)})
	}
	for _, i := range s.Images {
		out.Images = append(out.Images, types.Image{Name: i.Name, NewName: i.NewName, NewTag: i.NewTag, Digest: i.Digest})
	}
	return out
}

func selector(s *meta.Selector) *types.Selector {
	if s == nil {
		return nil
	}
	gvk := resid.Gvk{Group: s.Group, Version: s.Version, Kind: s.Kind}
	return &types.Selector{
		ResId:              resid.ResId{Gvk: gvk, Name: s.Name, Namespace: s.Namespace},
		AnnotationSelector: s.AnnotationSelector, LabelSelector: s.LabelSelector,
	}
}

// Owner is who the objects of a Kustomization belong to.
func Owner(k *kustomizev1.Kustomization) apply.Owner {
	return apply.Owner{Group: kustomizev1.GroupVersion.Group, Name: k.Name, Namespace: k.Namespace}
}

// Preparation is what a Kustomization puts on its objects.
func Preparation(k *kustomizev1.Kustomization) apply.Preparation {
	p := apply.Preparation{Owner: Owner(k)}
	if m := k.Spec.CommonMetadata; m != nil {
		p.Labels, p.Annotations = m.Labels, m.Annotations
	}
	return p
}
