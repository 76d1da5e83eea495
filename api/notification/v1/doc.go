// Package v1 holds the kind of notification.toolkit.fluxcd.io that takes calls from
// outside; v1beta3 holds those that send.
//
// The types are those of v1. Fields marked deprecated come from the beta versions, which the
// API server serves from the same definition; Normalize maps them to the fields of today.
//
// +kubebuilder:object:generate=true
// +groupName=notification.toolkit.fluxcd.io
package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion of the kinds in this package.
var GroupVersion = schema.GroupVersion{Group: "notification.toolkit.fluxcd.io", Version: "v1"}

// ReceiverKind is the kind of this package.
const ReceiverKind = "Receiver"

// AddToScheme registers the kinds of this package.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&Receiver{}, &ReceiverList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
