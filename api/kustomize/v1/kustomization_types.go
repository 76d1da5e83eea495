package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// Values of KustomizationSpec.DeletionPolicy.
const (
	// DeletionPolicyMirrorPrune deletes the objects if Prune is true.
	DeletionPolicyMirrorPrune = "MirrorPrune"
	// DeletionPolicyDelete deletes the objects.
	DeletionPolicyDelete = "Delete"
	// DeletionPolicyWaitForTermination deletes the objects and waits until they are gone.
	DeletionPolicyWaitForTermination = "WaitForTermination"
	// DeletionPolicyOrphan leaves the objects in the cluster.
	DeletionPolicyOrphan = "Orphan"
)

// Values of PostBuild.SubstituteStrategy.
const (
	// SubstituteWithVariables substitutes only when there are variables.
	SubstituteWithVariables = "WithVariables"
	// SubstituteAlways substitutes also when there are none, so that defaults take effect.
	SubstituteAlways = "Always"
)

// KustomizationSpec says what to build and how to keep it applied.
type KustomizationSpec struct {
	// SourceRef names the source whose artifact is built.
	// +required
	SourceRef CrossNamespaceSourceReference `json:"sourceRef"`
	// Path of the directory to build inside the artifact, its root when empty. A directory
	// without a kustomization.yaml gets one that lists all manifests below it.
	// +optional
	Path string `json:"path,omitempty"`
	// Interval between two full passes; a new artifact is acted on at once.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Interval meta.Duration `json:"interval"`
	// RetryInterval is the delay after a failure, the interval when absent.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	RetryInterval *meta.Duration `json:"retryInterval,omitempty"`
	// Timeout of the build, the apply and the health checks each; the interval less 30 seconds
	// when absent, and never below 30 seconds.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Timeout *meta.Duration `json:"timeout,omitempty"`
	// Suspend stops reconciling; what was applied stays.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// Prune deletes objects that were applied and are no longer built.
	// +required
	Prune bool `json:"prune"`
	// DeletionPolicy says what becomes of the objects when the Kustomization is deleted;
	// MirrorPrune when empty.
	// +optional
	// +kubebuilder:validation:Enum=MirrorPrune;Delete;WaitForTermination;Orphan
	DeletionPolicy string `json:"deletionPolicy,omitempty"`
	// Force recreates objects of which an immutable field changed.
	// +optional
	// +kubebuilder:default:=false
	Force bool `json:"force,omitempty"`
	// DependsOn lists the Kustomizations that must be ready first.
	// +optional
	DependsOn []meta.DependencyReference `json:"dependsOn,omitempty"`

	// TargetNamespace that every namespaced object is put into.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	TargetNamespace string `json:"targetNamespace,omitempty"`
	// NamePrefix put before every object's name.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=200
	NamePrefix string `json:"namePrefix,omitempty"`
	// NameSuffix put after every object's name.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=200
	NameSuffix string `json:"nameSuffix,omitempty"`
	// CommonMetadata put on every object.
	// +optional
	CommonMetadata *meta.CommonMetadata `json:"commonMetadata,omitempty"`
	// Patches to apply to the built objects.
	// +optional
	Patches []meta.Patch `json:"patches,omitempty"`
	// Images to replace in the built objects.
	// +optional
	Images []meta.Image `json:"images,omitempty"`
	// Components of kustomize to add, as paths relative to Path.
	// +optional
	Components []string `json:"components,omitempty"`
	// IgnoreMissingComponents passes over components whose directory does not exist.
	// +optional
	IgnoreMissingComponents bool `json:"ignoreMissingComponents,omitempty"`
	// BuildMetadata that kustomize leaves on the objects as annotations.
	// +optional
	// +kubebuilder:validation:items:Enum=originAnnotations;transformerAnnotations
	BuildMetadata []string `json:"buildMetadata,omitempty"`
	// PostBuild says what to do with the objects after the build.
	// +optional
	PostBuild *PostBuild `json:"postBuild,omitempty"`
	// Decryption of Secrets and of the files that they are generated from.
	// +optional
	Decryption *Decryption `json:"decryption,omitempty"`

	// Ignore names fields of applied objects that are left to others.
	// +optional
	Ignore []meta.IgnoreRule `json:"ignore,omitempty"`
	// Wait makes the Kustomization ready only when all its objects are; HealthChecks is then
	// not read.
	// +optional
	Wait bool `json:"wait,omitempty"`
	// HealthChecks lists the objects that must be ready.
	// +optional
	HealthChecks []meta.NamespacedObjectKindReference `json:"healthChecks,omitempty"`
	// HealthCheckExprs tell how objects of given kinds fare.
	// +optional
	HealthCheckExprs []meta.CustomHealthCheck `json:"healthCheckExprs,omitempty"`

	// ServiceAccountName in this namespace that applies the objects.
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// KubeConfig of the cluster to apply to, the controller's own when absent.
	// +optional
	KubeConfig *meta.KubeConfigReference `json:"kubeConfig,omitempty"`

	// PatchesStrategicMerge to apply before Patches.
	//
	// Deprecated: read from objects of beta versions only; see Patches.
	// +optional
	PatchesStrategicMerge []meta.JSON `json:"patchesStrategicMerge,omitempty"`
	// PatchesJSON6902 to apply after Patches.
	//
	// Deprecated: read from objects of beta versions only; see Patches.
	// +optional
	PatchesJSON6902 []meta.JSON6902Patch `json:"patchesJson6902,omitempty"`
	// Validation before the apply; the API server always validates now.
	//
	// Deprecated: read from objects of beta versions only, without effect.
	// +optional
	// +kubebuilder:validation:Enum=none;client;server
	Validation string `json:"validation,omitempty"`
}

// CrossNamespaceSourceReference names a source.
type CrossNamespaceSourceReference struct {
	// APIVersion of the source.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`
	// Kind of the source.
	// +required
	// +kubebuilder:validation:Enum=OCIRepository;GitRepository;Bucket;ExternalArtifact
	Kind string `json:"kind"`
	// Name of the source.
	// +required
	Name string `json:"name"`
	// Namespace of the source, the Kustomization's when empty.
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// Decryption says how to decrypt.
type Decryption struct {
	// Provider of the decryption.
	// +required
	// +kubebuilder:validation:Enum=sops
	Provider string `json:"provider"`
	// SecretRef names the Secret with the private keys or credentials.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`
	// ServiceAccountName whose identity logs in at the cloud's key service.
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
}

// PostBuild replaces ${variables} in the built objects.
type PostBuild struct {
	// Substitute maps variables to values; it wins over SubstituteFrom.
	// +optional
	Substitute map[string]string `json:"substitute,omitempty"`
	// SubstituteFrom lists ConfigMaps and Secrets with variables; later ones win.
	// +optional
	SubstituteFrom []SubstituteReference `json:"substituteFrom,omitempty"`
	// SubstituteStrategy says whether to substitute when there are no variables: not
	// (WithVariables, when empty) or Always.
	// +optional
	// +kubebuilder:validation:Enum=WithVariables;Always
	SubstituteStrategy string `json:"substituteStrategy,omitempty"`
}

// SubstituteReference names an object with variables.
type SubstituteReference struct {
	// Kind of the object.
	// +required
	// +kubebuilder:validation:Enum=Secret;ConfigMap
	Kind string `json:"kind"`
	// Name of the object, in the namespace of the Kustomization.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Optional: an object that does not exist is no error.
	// +optional
	// +kubebuilder:default:=false
	Optional bool `json:"optional,omitempty"`
}

// KustomizationStatus is what the controller last did.
type KustomizationStatus struct {
	// ObservedGeneration is the generation of the spec that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions of the object.
	// +optional
	Conditions meta.Conditions `json:"conditions,omitempty"`
	// LastAppliedRevision is the revision of the source that was last applied with success.
	// +optional
	LastAppliedRevision string `json:"lastAppliedRevision,omitempty"`
	// LastAppliedOriginRevision is the revision of what that revision was made from.
	// +optional
	LastAppliedOriginRevision string `json:"lastAppliedOriginRevision,omitempty"`
	// LastAttemptedRevision is the revision of the source that was last tried.
	// +optional
	LastAttemptedRevision string `json:"lastAttemptedRevision,omitempty"`
	// Inventory of the objects that are applied.
	// +optional
	Inventory *meta.ResourceInventory `json:"inventory,omitempty"`
	// History of the sets of objects that were applied, newest first.
	// +optional
	History []Snapshot `json:"history,omitempty"`
	// LastHandledReconcileAt is the value of the last reconcile request that was served.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// Tracked is a digest of the live objects as they were left. With Inputs it lets a restarted
	// controller see without a request that nothing has changed.
	// +optional
	Tracked string `json:"tracked,omitempty"`
	// Inputs is a digest of all that the applied objects were made from.
	// +optional
	Inputs string `json:"inputs,omitempty"`

	// Snapshot of what was applied, as kinds by namespace.
	//
	// Deprecated: read from objects of v1beta1 only; see Inventory.
	// +optional
	Snapshot *LegacySnapshot `json:"snapshot,omitempty"`
}

// Snapshot is one set of objects in the history.
type Snapshot struct {
	// Digest of the set.
	// +required
	Digest string `json:"digest"`
	// FirstReconciled is when the set was first reconciled with this result.
	// +required
	FirstReconciled meta.Time `json:"firstReconciled"`
	// LastReconciled is when the set was last reconciled with this result.
	// +required
	LastReconciled meta.Time `json:"lastReconciled"`
	// LastReconciledDuration is how long that took.
	// +required
	LastReconciledDuration meta.Duration `json:"lastReconciledDuration"`
	// LastReconciledStatus is the reason of the Ready condition.
	// +required
	LastReconciledStatus string `json:"lastReconciledStatus"`
	// TotalReconciliations with this set and result.
	// +required
	TotalReconciliations int64 `json:"totalReconciliations"`
	// Metadata such as the revision of the source.
	// +optional
	Metadata map[string]string `json:"metadata,omitempty"`
}

// LegacySnapshot is how v1beta1 remembered what it had applied.
//
// It is of v1beta1 only; see ResourceInventory.
type LegacySnapshot struct {
	// Checksum of the manifests.
	// +required
	Checksum string `json:"checksum"`
	// Entries, one for each namespace.
	// +required
	Entries []LegacySnapshotEntry `json:"entries"`
}

// LegacySnapshotEntry is what was applied to one namespace.
//
// It is of v1beta1 only; see ResourceInventory.
type LegacySnapshotEntry struct {
	// Namespace of the objects, empty for those of the cluster.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// Kinds of the objects: group, version and kind.
	// +required
	Kinds map[string]string `json:"kinds"`
}

// Kustomization builds a directory of a source with kustomize and keeps the result applied.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=ks,categories=all;fluxcd;fluxcd-appliers
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].status"
// +kubebuilder:printcolumn:name="Status",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].message"
type Kustomization struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec KustomizationSpec `json:"spec,omitempty"`
	// +kubebuilder:default={"observedGeneration":-1}
	Status KustomizationStatus `json:"status,omitempty"`
}

// KustomizationList is a list of them.
//
// +kubebuilder:object:root=true
type KustomizationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Kustomization `json:"items"`
}
