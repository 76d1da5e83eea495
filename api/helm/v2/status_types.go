package v2

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// HelmReleaseStatus is what the controller last did.
type HelmReleaseStatus struct {
	// ObservedGeneration is the generation of the spec that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions of the object.
	// +optional
	Conditions meta.Conditions `json:"conditions,omitempty"`
	// HelmChart that was made from the template, as <namespace>/<name>.
	// +optional
	HelmChart string `json:"helmChart,omitempty"`
	// StorageNamespace of the current release.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	StorageNamespace string `json:"storageNamespace,omitempty"`
	// History of releases, newest first.
	// +optional
	History Snapshots `json:"history,omitempty"`
	// Inventory of the objects of the release.
	// +optional
	Inventory *meta.ResourceInventory `json:"inventory,omitempty"`
	// LastAttemptedGeneration of the spec that was last tried.
	// +optional
	LastAttemptedGeneration int64 `json:"lastAttemptedGeneration,omitempty"`
	// LastAttemptedReleaseAction that was last tried.
	// +optional
	// +kubebuilder:validation:Enum=install;upgrade
	LastAttemptedReleaseAction string `json:"lastAttemptedReleaseAction,omitempty"`
	// LastAttemptedReleaseActionDuration is how long it took.
	// +optional
	LastAttemptedReleaseActionDuration *meta.Duration `json:"lastAttemptedReleaseActionDuration,omitempty"`
	// Failures since the last success.
	// +optional
	Failures int64 `json:"failures,omitempty"`
	// InstallFailures since the last success.
	// +optional
	InstallFailures int64 `json:"installFailures,omitempty"`
	// UpgradeFailures since the last success.
	// +optional
	UpgradeFailures int64 `json:"upgradeFailures,omitempty"`
	// LastAttemptedRevision is the version of the chart that was last tried.
	// +optional
	LastAttemptedRevision string `json:"lastAttemptedRevision,omitempty"`
	// LastAttemptedRevisionDigest is the digest of an OCI chart that was last tried.
	// +optional
	LastAttemptedRevisionDigest string `json:"lastAttemptedRevisionDigest,omitempty"`
	// LastAttemptedValuesChecksum is the SHA-1 of the values that were last tried.
	//
	// Superseded: see LastAttemptedConfigDigest.
	// +optional
	LastAttemptedValuesChecksum string `json:"lastAttemptedValuesChecksum,omitempty"`
	// LastReleaseRevision is the number of the last release in Helm.
	//
	// Superseded: see History.
	// +optional
	LastReleaseRevision int `json:"lastReleaseRevision,omitempty"`
	// LastAttemptedConfigDigest is the digest of the values that were last tried.
	// +optional
	LastAttemptedConfigDigest string `json:"lastAttemptedConfigDigest,omitempty"`
	// LastHandledForceAt is the value of the last force request that was served.
	// +optional
	LastHandledForceAt string `json:"lastHandledForceAt,omitempty"`
	// LastHandledResetAt is the value of the last reset request that was served.
	// +optional
	LastHandledResetAt string `json:"lastHandledResetAt,omitempty"`
	// ObservedPostRenderersDigest is the digest of the post-renderers of the last release.
	// +optional
	ObservedPostRenderersDigest string `json:"observedPostRenderersDigest,omitempty"`
	// ObservedCommonMetadataDigest is the digest of the common metadata of the last release.
	// +optional
	ObservedCommonMetadataDigest string `json:"observedCommonMetadataDigest,omitempty"`
	// LastHandledReconcileAt is the value of the last reconcile request that was served.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// LastAppliedRevision is the version of the chart that was last released.
	//
	// Deprecated: read from objects of beta versions only; see History.
	// +optional
	LastAppliedRevision string `json:"lastAppliedRevision,omitempty"`
}

// Snapshots is a list of releases, newest first.
type Snapshots []*Snapshot

// Latest returns the newest, nil if there is none.
func (s Snapshots) Latest() *Snapshot {
	if len(s) == 0 {
		return nil
	}
	return s[0]
}

// Snapshot is one release as it was made.
type Snapshot struct {
	// APIVersion of the way in which the digest was made, v2beta2 when empty.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`
	// Digest of the release as Helm stored it.
	// +required
	Digest string `json:"digest"`
	// Name of the release.
	// +required
	Name string `json:"name"`
	// Namespace of the release.
	// +required
	Namespace string `json:"namespace"`
	// Version is the number of the release in Helm.
	// +required
	Version int `json:"version"`
	// Status of the release in Helm.
	// +required
	Status string `json:"status"`
	// ChartName of the release.
	// +required
	ChartName string `json:"chartName"`
	// ChartVersion of the release.
	// +required
	ChartVersion string `json:"chartVersion"`
	// AppVersion of the chart.
	// +optional
	AppVersion string `json:"appVersion,omitempty"`
	// ConfigDigest is the digest of the values.
	// +required
	ConfigDigest string `json:"configDigest"`
	// FirstDeployed is when the release was first made.
	// +required
	FirstDeployed meta.Time `json:"firstDeployed"`
	// LastDeployed is when the release was last made.
	// +required
	LastDeployed meta.Time `json:"lastDeployed"`
	// Deleted is when the release was deleted.
	// +optional
	Deleted *meta.Time `json:"deleted,omitempty"`
	// TestHooks are the tests of the release by name.
	// +optional
	TestHooks *map[string]*TestHookStatus `json:"testHooks,omitempty"`
	// OCIDigest of the chart.
	// +optional
	OCIDigest string `json:"ociDigest,omitempty"`
	// Action that made the release.
	// +optional
	Action string `json:"action,omitempty"`
}

// TestHookStatus is how a test went.
type TestHookStatus struct {
	// LastStarted is when it was last started.
	// +optional
	LastStarted *meta.Time `json:"lastStarted,omitempty"`
	// LastCompleted is when it last ended.
	// +optional
	LastCompleted *meta.Time `json:"lastCompleted,omitempty"`
	// Phase of the test in Helm.
	// +optional
	Phase string `json:"phase,omitempty"`
}

// HelmRelease releases a chart with Helm.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=hr,categories=all;fluxcd;fluxcd-appliers
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].status"
// +kubebuilder:printcolumn:name="Status",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].message"
type HelmRelease struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec HelmReleaseSpec `json:"spec,omitempty"`
	// +kubebuilder:default={"observedGeneration":-1}
	Status HelmReleaseStatus `json:"status,omitempty"`
}

// HelmReleaseList is a list of them.
//
// +kubebuilder:object:root=true
type HelmReleaseList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []HelmRelease `json:"items"`
}
