// Package v1 holds the kind of kustomize.toolkit.fluxcd.io: what of a source's artifact to
// build with kustomize and to keep applied to a cluster.
//
// The types are those of v1. Fields marked deprecated come from the beta versions, which the
// API server serves from the same definition; Normalize maps them to the fields of today.
//
// +kubebuilder:object:generate=true
// +groupName=kustomize.toolkit.fluxcd.io
package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion of the kinds in this package.
var GroupVersion = schema.GroupVersion{Group: "kustomize.toolkit.fluxcd.io", Version: "v1"}

// KustomizationKind is the kind of this package.
const KustomizationKind = "Kustomization"

// Annotations and labels that the controller reads or writes on applied objects.
const (
	// OwnerNameLabel and OwnerNamespaceLabel say which Kustomization applies an object.
	OwnerNameLabel      = "kustomize.toolkit.fluxcd.io/name"
	OwnerNamespaceLabel = "kustomize.toolkit.fluxcd.io/namespace"
	// SSAAnnotation is Override, Merge, IfNotPresent or Ignore.
	SSAAnnotation = "kustomize.toolkit.fluxcd.io/ssa"
	// PruneAnnotation, when disabled, keeps an object that is no longer wanted.
	PruneAnnotation = "kustomize.toolkit.fluxcd.io/prune"
	// ReconcileAnnotation, when disabled, leaves an object alone.
	ReconcileAnnotation = "kustomize.toolkit.fluxcd.io/reconcile"
	// ForceAnnotation, when enabled, recreates an object whose immutable field changed.
	ForceAnnotation = "kustomize.toolkit.fluxcd.io/force"
	// SubstituteAnnotation, when disabled, exempts an object from variable substitution.
	SubstituteAnnotation = "kustomize.toolkit.fluxcd.io/substitute"
	// DecryptAnnotation, when disabled, leaves an encrypted Secret as it is.
	DecryptAnnotation = "kustomize.toolkit.fluxcd.io/decrypt"
)

// AddToScheme registers the kinds of this package.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &Kustomization{}, &KustomizationList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
