package v1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// minTimeout is the least that a timeout can be, and what the default leaves of the interval.
const minTimeout = 30 * time.Second

var (
	_ meta.Object = &Kustomization{}
)

// The accessors of Kustomization that the kernel uses; see meta.Object.
func (o *Kustomization) GetConditions() []metav1.Condition  { return o.Status.Conditions }
func (o *Kustomization) SetConditions(c []metav1.Condition) { o.Status.Conditions = c }
func (o *Kustomization) GetObservedGeneration() int64       { return o.Status.ObservedGeneration }
func (o *Kustomization) SetObservedGeneration(g int64)      { o.Status.ObservedGeneration = g }
func (o *Kustomization) GetLastHandledReconcileAt() string  { return o.Status.LastHandledReconcileAt }
func (o *Kustomization) SetLastHandledReconcileAt(v string) { o.Status.LastHandledReconcileAt = v }
func (o *Kustomization) GetInterval() time.Duration         { return o.Spec.Interval.ValueOr(0) }
func (o *Kustomization) GetRetryInterval() time.Duration {
	return o.Spec.RetryInterval.ValueOr(o.GetInterval())
}
func (o *Kustomization) GetTimeout() time.Duration {
	return max(o.Spec.Timeout.ValueOr(o.GetInterval()-minTimeout), minTimeout)
}
func (o *Kustomization) IsSuspended() bool { return o.Spec.Suspend }
