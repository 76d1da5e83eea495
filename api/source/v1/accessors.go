package v1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// defaultTimeout of one operation of a source, where the object names none.
const defaultTimeout = time.Minute

// defaultInterval of a HelmRepository that names none.
const defaultInterval = time.Minute

var (
	_ meta.Source = &GitRepository{}
	_ meta.Source = &OCIRepository{}
	_ meta.Source = &HelmRepository{}
	_ meta.Source = &HelmChart{}
	_ meta.Source = &Bucket{}
	_ meta.Source = &ExternalArtifact{}
)

// The accessors of GitRepository that the kernel uses; see meta.Object.
func (o *GitRepository) GetConditions() []metav1.Condition  { return o.Status.Conditions }
func (o *GitRepository) SetConditions(c []metav1.Condition) { o.Status.Conditions = c }
func (o *GitRepository) GetObservedGeneration() int64       { return o.Status.ObservedGeneration }
func (o *GitRepository) SetObservedGeneration(g int64)      { o.Status.ObservedGeneration = g }
func (o *GitRepository) GetLastHandledReconcileAt() string  { return o.Status.LastHandledReconcileAt }
func (o *GitRepository) SetLastHandledReconcileAt(v string) { o.Status.LastHandledReconcileAt = v }
func (o *GitRepository) GetInterval() time.Duration         { return o.Spec.Interval.ValueOr(0) }
func (o *GitRepository) GetRetryInterval() time.Duration    { return o.GetInterval() }
func (o *GitRepository) GetTimeout() time.Duration          { return o.Spec.Timeout.ValueOr(defaultTimeout) }
func (o *GitRepository) IsSuspended() bool                  { return o.Spec.Suspend }
func (o *GitRepository) GetArtifact() *meta.Artifact        { return o.Status.Artifact }

// The accessors of OCIRepository that the kernel uses; see meta.Object.
func (o *OCIRepository) GetConditions() []metav1.Condition  { return o.Status.Conditions }
func (o *OCIRepository) SetConditions(c []metav1.Condition) { o.Status.Conditions = c }
func (o *OCIRepository) GetObservedGeneration() int64       { return o.Status.ObservedGeneration }
func (o *OCIRepository) SetObservedGeneration(g int64)      { o.Status.ObservedGeneration = g }
func (o *OCIRepository) GetLastHandledReconcileAt() string  { return o.Status.LastHandledReconcileAt }
func (o *OCIRepository) SetLastHandledReconcileAt(v string) { o.Status.LastHandledReconcileAt = v }
func (o *OCIRepository) GetInterval() time.Duration         { return o.Spec.Interval.ValueOr(0) }
func (o *OCIRepository) GetRetryInterval() time.Duration    { return o.GetInterval() }
func (o *OCIRepository) GetTimeout() time.Duration          { return o.Spec.Timeout.ValueOr(defaultTimeout) }
func (o *OCIRepository) IsSuspended() bool                  { return o.Spec.Suspend }
func (o *OCIRepository) GetArtifact() *meta.Artifact        { return o.Status.Artifact }

// The accessors of HelmRepository that the kernel uses; see meta.Object.
func (o *HelmRepository) GetConditions() []metav1.Condition  { return o.Status.Conditions }
func (o *HelmRepository) SetConditions(c []metav1.Condition) { o.Status.Conditions = c }
func (o *HelmRepository) GetObservedGeneration() int64       { return o.Status.ObservedGeneration }
func (o *HelmRepository) SetObservedGeneration(g int64)      { o.Status.ObservedGeneration = g }
func (o *HelmRepository) GetLastHandledReconcileAt() string  { return o.Status.LastHandledReconcileAt }
func (o *HelmRepository) SetLastHandledReconcileAt(v string) { o.Status.LastHandledReconcileAt = v }
func (o *HelmRepository) GetInterval() time.Duration         { return o.Spec.Interval.ValueOr(defaultInterval) }
func (o *HelmRepository) GetRetryInterval() time.Duration    { return o.GetInterval() }
func (o *HelmRepository) GetTimeout() time.Duration          { return o.Spec.Timeout.ValueOr(defaultTimeout) }
func (o *HelmRepository) IsSuspended() bool                  { return o.Spec.Suspend }
func (o *HelmRepository) GetArtifact() *meta.Artifact        { return o.Status.Artifact }

// The accessors of HelmChart that the kernel uses; see meta.Object.
func (o *HelmChart) GetConditions() []metav1.Condition  { return o.Status.Conditions }
func (o *HelmChart) SetConditions(c []metav1.Condition) { o.Status.Conditions = c }
func (o *HelmChart) GetObservedGeneration() int64       { return o.Status.ObservedGeneration }
func (o *HelmChart) SetObservedGeneration(g int64)      { o.Status.ObservedGeneration = g }
func (o *HelmChart) GetLastHandledReconcileAt() string  { return o.Status.LastHandledReconcileAt }
func (o *HelmChart) SetLastHandledReconcileAt(v string) { o.Status.LastHandledReconcileAt = v }
func (o *HelmChart) GetInterval() time.Duration         { return o.Spec.Interval.ValueOr(0) }
func (o *HelmChart) GetRetryInterval() time.Duration    { return o.GetInterval() }
func (o *HelmChart) GetTimeout() time.Duration          { return defaultTimeout }
func (o *HelmChart) IsSuspended() bool                  { return o.Spec.Suspend }
func (o *HelmChart) GetArtifact() *meta.Artifact        { return o.Status.Artifact }

// The accessors of Bucket that the kernel uses; see meta.Object.
func (o *Bucket) GetConditions() []metav1.Condition  { return o.Status.Conditions }
func (o *Bucket) SetConditions(c []metav1.Condition) { o.Status.Conditions = c }
func (o *Bucket) GetObservedGeneration() int64       { return o.Status.ObservedGeneration }
func (o *Bucket) SetObservedGeneration(g int64)      { o.Status.ObservedGeneration = g }
func (o *Bucket) GetLastHandledReconcileAt() string  { return o.Status.LastHandledReconcileAt }
func (o *Bucket) SetLastHandledReconcileAt(v string) { o.Status.LastHandledReconcileAt = v }
func (o *Bucket) GetInterval() time.Duration         { return o.Spec.Interval.ValueOr(0) }
func (o *Bucket) GetRetryInterval() time.Duration    { return o.GetInterval() }
func (o *Bucket) GetTimeout() time.Duration          { return o.Spec.Timeout.ValueOr(defaultTimeout) }
func (o *Bucket) IsSuspended() bool                  { return o.Spec.Suspend }
func (o *Bucket) GetArtifact() *meta.Artifact        { return o.Status.Artifact }

// The accessors of ExternalArtifact that the kernel uses; see meta.Object.
func (o *ExternalArtifact) GetConditions() []metav1.Condition  { return o.Status.Conditions }
func (o *ExternalArtifact) SetConditions(c []metav1.Condition) { o.Status.Conditions = c }
func (o *ExternalArtifact) GetObservedGeneration() int64 {
	return o.Status.Conditions.ObservedGeneration()
}
func (o *ExternalArtifact) SetObservedGeneration(int64)       {}
func (o *ExternalArtifact) GetLastHandledReconcileAt() string { return "" }
func (o *ExternalArtifact) SetLastHandledReconcileAt(string)  {}
func (o *ExternalArtifact) GetInterval() time.Duration        { return 0 }
func (o *ExternalArtifact) GetRetryInterval() time.Duration   { return 0 }
func (o *ExternalArtifact) GetTimeout() time.Duration         { return defaultTimeout }
func (o *ExternalArtifact) IsSuspended() bool                 { return false }
func (o *ExternalArtifact) GetArtifact() *meta.Artifact       { return o.Status.Artifact }
