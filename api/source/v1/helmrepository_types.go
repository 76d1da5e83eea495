package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// Types of HelmRepository.
const (
	// HelmRepositoryTypeDefault has an index over HTTP(S).
	HelmRepositoryTypeDefault = "default"
	// HelmRepositoryTypeOCI is an OCI registry.
	HelmRepositoryTypeOCI = "oci"
)

// HelmRepositorySpec says where charts are found.
type HelmRepositorySpec struct {
	// URL of the repository.
	// +required
	// +kubebuilder:validation:Pattern="^(http|https|oci)://.*$"
	URL string `json:"url"`
	// Type of the repository: default (when empty) has an index, oci is a registry.
	// +optional
	// +kubebuilder:validation:Enum=default;oci
	Type string `json:"type,omitempty"`
	// SecretRef names the Secret with the credentials: username and password, or a Docker
	// configuration for a registry.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`
	// CertSecretRef names the Secret with the TLS files: ca.crt, and tls.crt with tls.key.
	// +optional
	CertSecretRef *meta.LocalObjectReference `json:"certSecretRef,omitempty"`
	// PassCredentials sends the credentials also to other hosts that the index names.
	// +optional
	PassCredentials bool `json:"passCredentials,omitempty"`
	// Interval between two looks at the index. A registry has none.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Interval *meta.Duration `json:"interval,omitempty"`
	// Insecure allows a registry without TLS.
	// +optional
	Insecure bool `json:"insecure,omitempty"`
	// Timeout of fetching the index, 60 seconds when absent.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m))+$"
	Timeout *meta.Duration `json:"timeout,omitempty"`
	// Suspend stops reconciling; what there is stays.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// AccessFrom says which namespaces may refer to the object. It has no effect.
	// +optional
	AccessFrom *meta.AccessFrom `json:"accessFrom,omitempty"`
	// Provider of the identity that logs in at a registry; generic uses SecretRef.
	// +optional
	// +kubebuilder:validation:Enum=generic;aws;azure;gcp
	// +kubebuilder:default:=generic
	Provider string `json:"provider,omitempty"`
}

// HelmRepositoryStatus is what the controller last saw.
type HelmRepositoryStatus struct {
	// ObservedGeneration is the generation of the spec that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions of the object.
	// +optional
	Conditions meta.Conditions `json:"conditions,omitempty"`
	// URL at which the index is served.
	// +optional
	URL string `json:"url,omitempty"`
	// Artifact of the last success.
	// +optional
	Artifact *meta.Artifact `json:"artifact,omitempty"`
	// LastHandledReconcileAt is the value of the last reconcile request that was served.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
}

// HelmRepository offers the index of a Helm repository, or names a registry of charts.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=helmrepo,categories=all;fluxcd;fluxcd-sources
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="URL",type="string",JSONPath=".spec.url"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].status"
// +kubebuilder:printcolumn:name="Status",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].message"
type HelmRepository struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec HelmRepositorySpec `json:"spec,omitempty"`
	// +kubebuilder:default={"observedGeneration":-1}
	Status HelmRepositoryStatus `json:"status,omitempty"`
}

// HelmRepositoryList is a list of them.
//
// +kubebuilder:object:root=true
type HelmRepositoryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []HelmRepository `json:"items"`
}
