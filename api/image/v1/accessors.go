package v1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// minTimeout is the least that a scan is given.
const minTimeout = time.Second

var (
	_ meta.Object = &ImageRepository{}
	_ meta.Object = &ImagePolicy{}
	_ meta.Object = &ImageUpdateAutomation{}
)

// The accessors of ImageRepository that the kernel uses; see meta.Object.
func (o *ImageRepository) GetConditions() []metav1.Condition  { return o.Status.Conditions }
func (o *ImageRepository) SetConditions(c []metav1.Condition) { o.Status.Conditions = c }
func (o *ImageRepository) GetObservedGeneration() int64       { return o.Status.ObservedGeneration }
func (o *ImageRepository) SetObservedGeneration(g int64)      { o.Status.ObservedGeneration = g }
func (o *ImageRepository) GetLastHandledReconcileAt() string  { return o.Status.LastHandledReconcileAt }
func (o *ImageRepository) SetLastHandledReconcileAt(v string) { o.Status.LastHandledReconcileAt = v }
func (o *ImageRepository) GetInterval() time.Duration         { return o.Spec.Interval.ValueOr(0) }
func (o *ImageRepository) GetRetryInterval() time.Duration    { return o.GetInterval() }
func (o *ImageRepository) GetTimeout() time.Duration {
	return max(o.Spec.Timeout.ValueOr(o.GetInterval()), minTimeout)
}
func (o *ImageRepository) IsSuspended() bool { return o.Spec.Suspend }

// The accessors of ImagePolicy that the kernel uses; see meta.Object.
func (o *ImagePolicy) GetConditions() []metav1.Condition  { return o.Status.Conditions }
func (o *ImagePolicy) SetConditions(c []metav1.Condition) { o.Status.Conditions = c }
func (o *ImagePolicy) GetObservedGeneration() int64       { return o.Status.ObservedGeneration }
func (o *ImagePolicy) SetObservedGeneration(g int64)      { o.Status.ObservedGeneration = g }
func (o *ImagePolicy) GetLastHandledReconcileAt() string  { return o.Status.LastHandledReconcileAt }
func (o *ImagePolicy) SetLastHandledReconcileAt(v string) { o.Status.LastHandledReconcileAt = v }
func (o *ImagePolicy) GetInterval() time.Duration         { return o.Spec.Interval.ValueOr(0) }
func (o *ImagePolicy) GetRetryInterval() time.Duration    { return o.GetInterval() }
func (o *ImagePolicy) GetTimeout() time.Duration          { return 0 }
func (o *ImagePolicy) IsSuspended() bool                  { return o.Spec.Suspend }

// The accessors of ImageUpdateAutomation that the kernel uses; see meta.Object.
func (o *ImageUpdateAutomation) GetConditions() []metav1.Condition  { return o.Status.Conditions }
func (o *ImageUpdateAutomation) SetConditions(c []metav1.Condition) { o.Status.Conditions = c }
func (o *ImageUpdateAutomation) GetObservedGeneration() int64       { return o.Status.ObservedGeneration }
func (o *ImageUpdateAutomation) SetObservedGeneration(g int64)      { o.Status.ObservedGeneration = g }
func (o *ImageUpdateAutomation) GetLastHandledReconcileAt() string {
	return o.Status.LastHandledReconcileAt
}
func (o *ImageUpdateAutomation) SetLastHandledReconcileAt(v string) {
	o.Status.LastHandledReconcileAt = v
}
func (o *ImageUpdateAutomation) GetInterval() time.Duration      { return o.Spec.Interval.ValueOr(0) }
func (o *ImageUpdateAutomation) GetRetryInterval() time.Duration { return o.GetInterval() }
func (o *ImageUpdateAutomation) GetTimeout() time.Duration       { return 0 }
func (o *ImageUpdateAutomation) IsSuspended() bool               { return o.Spec.Suspend }
