package v1beta1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// Values of CopyOperation.Strategy.
const (
	// OverwriteStrategy replaces files that exist.
	OverwriteStrategy = "Overwrite"
	// MergeStrategy merges YAML files that exist.
	MergeStrategy = "Merge"
	// ExtractStrategy unpacks archives.
	ExtractStrategy = "Extract"
)

// ArtifactGeneratorSpec says what to make of which sources.
//
// +kubebuilder:validation:XValidation:rule="has(self.pathPattern) && size(self.pathPattern) > 0 || self.artifacts.all(a, a.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))",message="artifact names must be valid Kubernetes object names when pathPattern is not set"
type ArtifactGeneratorSpec struct {
	// Sources that are read.
	// +required
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1000
	Sources []SourceReference `json:"sources"`
	// OutputArtifacts to make.
	// +required
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1000
	OutputArtifacts []OutputArtifact `json:"artifacts"`
	// PathPattern makes the artifacts once for each directory of a source that it matches.
	// +optional
	// +kubebuilder:validation:Pattern="^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)/(.*)$"
	// +kubebuilder:validation:MaxLength=1024
	PathPattern string `json:"pathPattern,omitempty"`
	// CommonMetadata put on every ExternalArtifact.
	// +optional
	CommonMetadata *meta.CommonMetadata `json:"commonMetadata,omitempty"`
}

// SourceReference names a source and gives it an alias.
type SourceReference struct {
	// Alias by which the copies call the source.
	// +required
	// +kubebuilder:validation:Pattern="^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$"
	// +kubebuilder:validation:MaxLength=63
	Alias string `json:"alias"`
	// Kind of the source.
	// +required
	// +kubebuilder:validation:Enum=Bucket;GitRepository;OCIRepository;HelmChart;ExternalArtifact
	Kind string `json:"kind"`
	// Name of the source.
	// +required
	// +kubebuilder:validation:Pattern="^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Namespace of the source, the generator's when empty.
	// +optional
	// +kubebuilder:validation:Pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// OutputArtifact is one artifact to make.
type OutputArtifact struct {
	// Name of the ExternalArtifact.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Revision is that of the source with this alias, a digest of the content when empty.
	// +optional
	// +kubebuilder:validation:Pattern="^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)$"
	// +kubebuilder:validation:MaxLength=64
	Revision string `json:"revision,omitempty"`
	// OriginRevision is that of the source with this alias, kept in the artifact's metadata.
	// +optional
	// +kubebuilder:validation:Pattern="^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)$"
	// +kubebuilder:validation:MaxLength=64
	OriginRevision string `json:"originRevision,omitempty"`
	// Copy operations, run in order.
	// +required
	// +kubebuilder:validation:MinItems=1
	Copy []CopyOperation `json:"copy"`
}

// CopyOperation copies files of a source into the artifact.
type CopyOperation struct {
	// From is what to copy: @alias/ and a path or glob.
	// +required
	// +kubebuilder:validation:Pattern="^@([a-z0-9]([a-z0-9_-]*[a-z0-9])?)/(.*)$"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	From string `json:"from"`
	// To is where to: @artifact/ and a path.
	// +required
	// +kubebuilder:validation:Pattern="^@(artifact)/(.*)$"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	To string `json:"to"`
	// Exclude lists globs of files that are not copied.
	// +optional
	// +kubebuilder:validation:MaxItems=100
	Exclude []string `json:"exclude,omitempty"`
	// Strategy for what exists already; Overwrite when empty.
	// +optional
	// +kubebuilder:validation:Enum=Overwrite;Merge;Extract
	Strategy string `json:"strategy,omitempty"`
}

// ArtifactGeneratorStatus is what the controller last did.
type ArtifactGeneratorStatus struct {
	// Conditions of the object.
	// +optional
	Conditions meta.Conditions `json:"conditions,omitempty"`
	// Inventory of the artifacts that were made.
	// +optional
	Inventory []ExternalArtifactReference `json:"inventory,omitempty"`
	// ObservedSourcesDigest is a digest of the sources' revisions.
	// +optional
	ObservedSourcesDigest string `json:"observedSourcesDigest,omitempty"`
	// LastHandledReconcileAt is the value of the last reconcile request that was served.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
}

// ExternalArtifactReference is one artifact that was made.
type ExternalArtifactReference struct {
	// Name of the ExternalArtifact.
	// +required
	Name string `json:"name"`
	// Namespace of the ExternalArtifact.
	// +required
	Namespace string `json:"namespace"`
	// Digest of the artifact.
	// +required
	Digest string `json:"digest"`
	// Filename of the artifact in the store.
	// +required
	Filename string `json:"filename"`
}

// ArtifactGenerator composes artifacts from those of other sources, or splits them.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=ag,categories=all;fluxcd;fluxcd-sources
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].status"
// +kubebuilder:printcolumn:name="Status",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].message"
type ArtifactGenerator struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ArtifactGeneratorSpec   `json:"spec,omitempty"`
	Status ArtifactGeneratorStatus `json:"status,omitempty"`
}

// ArtifactGeneratorList is a list of them.
//
// +kubebuilder:object:root=true
type ArtifactGeneratorList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ArtifactGenerator `json:"items"`
}
