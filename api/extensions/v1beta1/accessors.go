package v1beta1

import (
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// interval between two looks at the sources; the kind has no field for it.
const interval = time.Hour

var (
	_ meta.Object = &ArtifactGenerator{}
)

// The accessors of ArtifactGenerator that the kernel uses; see meta.Object.
func (o *ArtifactGenerator) GetConditions() []metav1.Condition  { return o.Status.Conditions }
func (o *ArtifactGenerator) SetConditions(c []metav1.Condition) { o.Status.Conditions = c }
func (o *ArtifactGenerator) GetObservedGeneration() int64 {
	return o.Status.Conditions.ObservedGeneration()
}
func (o *ArtifactGenerator) SetObservedGeneration(int64) {}
func (o *ArtifactGenerator) GetLastHandledReconcileAt() string {
	return o.Status.LastHandledReconcileAt
}
func (o *ArtifactGenerator) SetLastHandledReconcileAt(v string) { o.Status.LastHandledReconcileAt = v }
func (o *ArtifactGenerator) GetInterval() time.Duration         { return interval }
func (o *ArtifactGenerator) GetRetryInterval() time.Duration    { return o.GetInterval() }
func (o *ArtifactGenerator) GetTimeout() time.Duration          { return 0 }
func (o *ArtifactGenerator) IsSuspended() bool {
	return strings.EqualFold(o.Annotations[ReconcileAnnotation], DisabledValue)
}
