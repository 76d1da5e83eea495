// Package api is the public API: one folder for each group and version, with the Go types of
// its kinds. Nothing but apimachinery is imported, so that anybody can use the types.
//
// The types are those of the current version of each kind. Older versions are served by the API
// server from the same definition; see Normalize of each kind, and differences.txt.
package api

import (
	"errors"

	"k8s.io/apimachinery/pkg/runtime"

	extensionsv1beta1 "github.com/gitops-toolkit/flux/api/extensions/v1beta1"
	helmv2 "github.com/gitops-toolkit/flux/api/helm/v2"
	imagev1 "github.com/gitops-toolkit/flux/api/image/v1"
	kustomizev1 "github.com/gitops-toolkit/flux/api/kustomize/v1"
	notificationv1 "github.com/gitops-toolkit/flux/api/notification/v1"
	notificationv1beta3 "github.com/gitops-toolkit/flux/api/notification/v1beta3"
	sourcev1 "github.com/gitops-toolkit/flux/api/source/v1"
)

// AddToScheme registers the kinds of all groups.
func AddToScheme(s *runtime.Scheme) error {
	return errors.Join(
		sourcev1.AddToScheme(s),
		kustomizev1.AddToScheme(s),
		helmv2.AddToScheme(s),
		notificationv1.AddToScheme(s),
		notificationv1beta3.AddToScheme(s),
		imagev1.AddToScheme(s),
		extensionsv1beta1.AddToScheme(s),
	)
}
