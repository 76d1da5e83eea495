// Package v1 holds the kinds of source.toolkit.fluxcd.io: where content comes from, and the
// artifact that each source makes of it.
//
// The types are those of v1. Fields marked deprecated come from the beta versions, which the
// API server serves from the same definition; Normalize maps them to the fields of today.
//
// +kubebuilder:object:generate=true
// +groupName=source.toolkit.fluxcd.io
package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion of the kinds in this package.
var GroupVersion = schema.GroupVersion{Group: "source.toolkit.fluxcd.io", Version: "v1"}

// The kinds of this package.
const (
	GitRepositoryKind    = "GitRepository"
	OCIRepositoryKind    = "OCIRepository"
	HelmRepositoryKind   = "HelmRepository"
	HelmChartKind        = "HelmChart"
	BucketKind           = "Bucket"
	ExternalArtifactKind = "ExternalArtifact"
)

// AddToScheme registers the kinds of this package.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&GitRepository{}, &GitRepositoryList{},
		&OCIRepository{}, &OCIRepositoryList{},
		&HelmRepository{}, &HelmRepositoryList{},
		&HelmChart{}, &HelmChartList{},
		&Bucket{}, &BucketList{},
		&ExternalArtifact{}, &ExternalArtifactList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
