package v2

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// defaultTimeout of a Helm action, where the object names none.
const defaultTimeout = 5 * time.Minute

var (
	_ meta.Object = &HelmRelease{}
)

// The accessors of HelmRelease that the kernel uses; see meta.Object.
func (o *HelmRelease) GetConditions() []metav1.Condition  { return o.Status.Conditions }
func (o *HelmRelease) SetConditions(c []metav1.Condition) { o.Status.Conditions = c }
func (o *HelmRelease) GetObservedGeneration() int64       { return o.Status.ObservedGeneration }
func (o *HelmRelease) SetObservedGeneration(g int64)      { o.Status.ObservedGeneration = g }
func (o *HelmRelease) GetLastHandledReconcileAt() string  { return o.Status.LastHandledReconcileAt }
func (o *HelmRelease) SetLastHandledReconcileAt(v string) { o.Status.LastHandledReconcileAt = v }
func (o *HelmRelease) GetInterval() time.Duration         { return o.Spec.Interval.ValueOr(0) }
func (o *HelmRelease) GetRetryInterval() time.Duration    { return o.GetInterval() }
func (o *HelmRelease) GetTimeout() time.Duration          { return o.Spec.Timeout.ValueOr(defaultTimeout) }
func (o *HelmRelease) IsSuspended() bool                  { return o.Spec.Suspend }
