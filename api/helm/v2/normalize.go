package v2

import "github.com/gitops-toolkit/flux/api/meta"

// Normalize maps the fields of the beta versions to those of today. The one values file of old
// is merged before the others.
func (o *HelmRelease) Normalize() {
	if c := o.Spec.Chart; c != nil && c.Spec.ValuesFile != "" {
		c.Spec.ValuesFiles = append([]string{c.Spec.ValuesFile}, c.Spec.ValuesFiles...)
		c.Spec.ValuesFile = ""
	}
	for i := range o.Spec.PostRenderers {
		o.Spec.PostRenderers[i].Kustomize.normalize()
	}
	o.Status.LastAppliedRevision = ""
}

func (k *Kustomize) normalize() {
	if k == nil {
		return
	}
	k.Patches = meta.LegacyPatches(k.PatchesStrategicMerge, k.Patches, k.PatchesJSON6902)
	k.PatchesStrategicMerge, k.PatchesJSON6902 = nil, nil
}
