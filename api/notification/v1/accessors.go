package v1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// defaultInterval of a Receiver, where the object names none.
const defaultInterval = 10 * time.Minute

var (
	_ meta.Object = &Receiver{}
)

// The accessors of Receiver that the kernel uses; see meta.Object.
func (o *Receiver) GetConditions() []metav1.Condition  { return o.Status.Conditions }
func (o *Receiver) SetConditions(c []metav1.Condition) { o.Status.Conditions = c }
func (o *Receiver) GetObservedGeneration() int64       { return o.Status.ObservedGeneration }
func (o *Receiver) SetObservedGeneration(g int64)      { o.Status.ObservedGeneration = g }
func (o *Receiver) GetLastHandledReconcileAt() string  { return o.Status.LastHandledReconcileAt }
func (o *Receiver) SetLastHandledReconcileAt(v string) { o.Status.LastHandledReconcileAt = v }
func (o *Receiver) GetInterval() time.Duration         { return o.Spec.Interval.ValueOr(defaultInterval) }
func (o *Receiver) GetRetryInterval() time.Duration    { return o.GetInterval() }
func (o *Receiver) GetTimeout() time.Duration          { return 0 }
func (o *Receiver) IsSuspended() bool                  { return o.Spec.Suspend }
