// Package v1beta1 holds the kind of source.extensions.fluxcd.io: artifacts made from
// artifacts.
//
// +kubebuilder:object:generate=true
// +groupName=source.extensions.fluxcd.io
package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion of the kinds in this package.
var GroupVersion = schema.GroupVersion{Group: "source.extensions.fluxcd.io", Version: "v1beta1"}

// ArtifactGeneratorKind is the kind of this package.
const ArtifactGeneratorKind = "ArtifactGenerator"

const (
	// Finalizer of the kind, another than that of all other kinds.
	Finalizer = "source.extensions.fluxcd.io/finalizer"
	// GeneratorLabel on an ExternalArtifact carries the UID of its generator.
	GeneratorLabel = "source.extensions.fluxcd.io/generator"
	// ReconcileAnnotation, when DisabledValue, suspends the object.
	ReconcileAnnotation = "source.extensions.fluxcd.io/reconcile"
	// DisabledValue of ReconcileAnnotation, in any case.
	DisabledValue = "disabled"
)

// AddToScheme registers the kinds of this package.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&ArtifactGenerator{}, &ArtifactGeneratorList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
