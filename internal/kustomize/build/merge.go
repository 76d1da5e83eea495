//lint:file-ignore SA1019 people use the deprecated fields of kustomization.yaml, so they are merged and guarded as well

package build

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/types"
)

// empty reports whether there is nothing to merge.
func (s Spec) empty() bool {
	return s.TargetNamespace == "" && s.NamePrefix == "" && s.NameSuffix == "" && len(s.Patches) == 0 &&
		len(s.Images) == 0 && len(s.Components) == 0 && s.BuildMetadata == nil &&
		len(s.PatchesStrategicMerge) == 0 && len(s.PatchesJSON6902) == 0
}

// merge lays the spec over a kustomization. exists tells whether a component's directory is there.
func (s Spec) merge(k *types.Kustomization, exists func(string) bool) error {
	k.Namespace = either(s.TargetNamespace, k.Namespace)
	k.NamePrefix = either(s.NamePrefix, k.NamePrefix)
	k.NameSuffix = either(s.NameSuffix, k.NameSuffix)
	k.Patches = append(k.Patches, s.Patches...)
	k.PatchesJson6902 = append(k.PatchesJson6902, s.PatchesJSON6902...)
	for _, p := range s.PatchesStrategicMerge {
		k.PatchesStrategicMerge = append(k.PatchesStrategicMerge, types.PatchStrategicMerge(p))
	}
	for _, image := range s.Images {
		k.Images = mergeImage(k.Images, image)
	}
	for _, component := range s.Components {
		if !isLocal(component) {
			return fmt.Errorf("component path '%s' must be local and relative; refer to a directory of the source", component)
		}
		if s.IgnoreMissingComponents && !exists(component) {
			continue
		}
		k.Components = append(k.Components, component)
	}
	if s.BuildMetadata != nil {
		k.BuildMetadata = slices.Clone(s.BuildMetadata)
	}
	return nil
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// mergeImage changes the entry of the same name, or appends one. A tag and a digest are one unit: whoever gives
// either replaces both.
func mergeImage(images []types.Image, image types.Image) []types.Image {
	i := slices.IndexFunc(images, func(old types.Image) bool { return old.Name == image.Name })
	if i < 0 {
		return append(images, image)
	}
	old := &images[i]
	old.NewName = either(image.NewName, old.NewName)
	if image.NewTag != "" || image.Digest != "" {
		old.NewTag, old.Digest = image.NewTag, image.Digest
	}
	return images
}

// isLocal reports whether a reference is a relative path, not a URL in any of kustomize's spellings.
func isLocal(ref string) bool {
	return ref != "" && !path.IsAbs(ref) && !isRemote(ref) && !strings.HasPrefix(strings.ToLower(ref), "gh:")
}
