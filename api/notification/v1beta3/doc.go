// Package v1beta3 holds the kinds of notification.toolkit.fluxcd.io that send events
// out; v1 holds the one that takes calls. They have no status.
//
// +kubebuilder:object:generate=true
// +groupName=notification.toolkit.fluxcd.io
package v1beta3

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion of the kinds in this package.
var GroupVersion = schema.GroupVersion{Group: "notification.toolkit.fluxcd.io", Version: "v1beta3"}

// The kinds of this package.
const (
	AlertKind    = "Alert"
	ProviderKind = "Provider"
)

// AddToScheme registers the kinds of this package.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&Alert{}, &AlertList{},
		&Provider{}, &ProviderList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}

// MemoryName is the ConfigMap in which notification-controller keeps, in its own namespace, what outlives its pod.
const MemoryName = "notification-controller-memory"
