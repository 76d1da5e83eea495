package install

import (
	"context"
	"fmt"
	"slices"

	"github.com/Masterminds/semver/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/gitops-toolkit/flux/internal/apply"
	"github.com/gitops-toolkit/flux/internal/version"
)

// Newer tells whether what is installed is newer than a version of ours. Upstream's versions begin at
// v2 and are held against the release that we stand in for.
func (f *Installed) Newer(than string) bool {
	live, err := semver.NewVersion(f.Version)
	if err != nil {
		return false
	}
	if live.Major() >= 2 {
		than = version.Upstream["flux-cli"]
	}
	own, err := semver.NewVersion(than)
	return err == nil && live.GreaterThan(own)
}

// CheckStored refuses definitions that lack a version in which the cluster stores objects: the API
// server would refuse them half way.
func CheckStored(ctx context.Context, client *apply.Client, objects []*unstructured.Unstructured) error {
	live, err := client.Dynamic().Resource(crdResource).List(ctx, metav1.ListOptions{LabelSelector: PartOfLabel + "=flux"})
	if err != nil {
		return fmt.Errorf("read the definitions of the installation: %w", err)
	}
	known := map[string][]string{}
	for _, obj := range objects {
		if obj.GetKind() == "CustomResourceDefinition" {
			known[obj.GetName()] = served(obj)
		}
	}
	for i := range live.Items {
		name := live.Items[i].GetName()
		stored, _, _ := unstructured.NestedStringSlice(live.Items[i].Object, "status", "storedVersions")
		for _, v := range stored {
			if ours := known[name]; ours != nil && !slices.Contains(ours, v) {
				return fmt.Errorf("the cluster stores objects of %s as %s, which the version to install does not know (it knows %v): install the version that is there, or a newer one; nothing has been changed", name, v, ours)
			}
		}
	}
	return nil
}

func served(crd *unstructured.Unstructured) (names []string) {
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, v := range versions {
		if v, ok := v.(map[string]any); ok {
			name, _ := v["name"].(string)
			names = append(names, name)
		}
	}
	return names
}
