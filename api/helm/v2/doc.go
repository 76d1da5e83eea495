// Package v2 holds the kind of helm.toolkit.fluxcd.io: which chart to release, with which
// values, and what to do when that fails.
//
// The types are those of v2. Fields marked deprecated come from the beta versions, which the
// API server serves from the same definition; Normalize maps them to the fields of today.
//
// +kubebuilder:object:generate=true
// +groupName=helm.toolkit.fluxcd.io
package v2

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion of the kinds in this package.
var GroupVersion = schema.GroupVersion{Group: "helm.toolkit.fluxcd.io", Version: "v2"}

// HelmReleaseKind is the kind of this package.
const HelmReleaseKind = "HelmRelease"

// Labels and annotations on the objects of a release.
const (
	// OwnerNameLabel and OwnerNamespaceLabel say which HelmRelease an object belongs to.
	OwnerNameLabel      = "helm.toolkit.fluxcd.io/name"
	OwnerNamespaceLabel = "helm.toolkit.fluxcd.io/namespace"
	// DriftDetectionAnnotation, when disabled, leaves an object's drift alone.
	DriftDetectionAnnotation = "helm.toolkit.fluxcd.io/driftDetection"
)

// AddToScheme registers the kinds of this package.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&HelmRelease{}, &HelmReleaseList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
