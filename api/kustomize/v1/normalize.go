package v1

import "github.com/gitops-toolkit/flux/api/meta"

// Normalize maps the fields of the beta versions to those of today. The snapshot of v1beta1
// names no objects, so nothing of it can become an inventory.
func (o *Kustomization) Normalize() {
	s := &o.Spec
	s.Patches = meta.LegacyPatches(s.PatchesStrategicMerge, s.Patches, s.PatchesJSON6902)
	s.PatchesStrategicMerge, s.PatchesJSON6902 = nil, nil
	s.Validation = ""
	o.Status.Snapshot = nil
}
