// Package meta holds what the kinds of every group share: references, reconcile requests,
// condition types and reasons, annotation and label keys, and the small interface through
// which the kernel sees an object. It imports nothing but apimachinery.
//
// +kubebuilder:object:generate=true
package meta

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Object is what the kernel needs to know of a reconciled kind. The generated kinds implement
// it with a few accessors each; kinds without a field return its zero value.
//
// +kubebuilder:object:generate=false
type Object interface {
	metav1.Object
	runtime.Object

	// GetConditions returns status.conditions.
	GetConditions() []metav1.Condition
	// SetConditions replaces status.conditions.
	SetConditions([]metav1.Condition)
	// GetObservedGeneration returns status.observedGeneration, -1 where never set.
	GetObservedGeneration() int64
	// SetObservedGeneration sets status.observedGeneration.
	SetObservedGeneration(int64)
	// GetLastHandledReconcileAt returns status.lastHandledReconcileAt.
	GetLastHandledReconcileAt() string
	// SetLastHandledReconcileAt sets status.lastHandledReconcileAt.
	SetLastHandledReconcileAt(string)
	// GetInterval returns spec.interval, zero where the kind has none.
	GetInterval() time.Duration
	// GetRetryInterval returns the delay after a failure: spec.retryInterval, else the interval.
	GetRetryInterval() time.Duration
	// GetTimeout returns the effective spec.timeout with the kind's default applied.
	GetTimeout() time.Duration
	// IsSuspended returns spec.suspend.
	IsSuspended() bool
}
