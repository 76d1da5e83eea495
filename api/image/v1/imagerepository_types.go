package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// ImageRepositorySpec says which image to scan for tags.
type ImageRepositorySpec struct {
	// Image is the name of the repository, without scheme or tag.
	// +required
	Image string `json:"image"`
	// Interval between two scans.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Interval meta.Duration `json:"interval"`
	// Timeout of a scan, the interval when absent.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m))+$"
	Timeout *meta.Duration `json:"timeout,omitempty"`
	// SecretRef names a Secret of the type kubernetes.io/dockerconfigjson.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`
	// ProxySecretRef names the Secret with the proxy: address, and username and password.
	// +optional
	ProxySecretRef *meta.LocalObjectReference `json:"proxySecretRef,omitempty"`
	// ServiceAccountName whose image pull secrets, or whose identity at the provider, log in.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// CertSecretRef names the Secret with the TLS files: ca.crt, and tls.crt with tls.key.
	// +optional
	CertSecretRef *meta.LocalObjectReference `json:"certSecretRef,omitempty"`
	// Suspend stops scanning.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// AccessFrom says which namespaces may refer to the object, its own only when absent.
	// +optional
	AccessFrom *meta.AccessFrom `json:"accessFrom,omitempty"`
	// ExclusionList of regular expressions; tags that match one are passed over.
	// +optional
	// +kubebuilder:default:={"^.*\\.sig$"}
	// +kubebuilder:validation:MaxItems=25
	ExclusionList []string `json:"exclusionList,omitempty"`
	// Provider of the identity that logs in; generic uses SecretRef and ServiceAccountName.
	// +optional
	// +kubebuilder:validation:Enum=generic;aws;azure;gcp
	// +kubebuilder:default:=generic
	Provider string `json:"provider,omitempty"`
	// Insecure allows a registry without TLS.
	// +optional
	Insecure bool `json:"insecure,omitempty"`
}

// ScanResult is what a scan found.
type ScanResult struct {
	// Revision is a checksum of the tags.
	// +optional
	Revision string `json:"revision,omitempty"`
	// TagCount is the number of tags, without the excluded ones.
	// +required
	TagCount int `json:"tagCount"`
	// ScanTime is when the scan ended.
	// +optional
	ScanTime *meta.Time `json:"scanTime,omitempty"`
	// LatestTags are the first tags in descending order.
	// +optional
	LatestTags []string `json:"latestTags,omitempty"`
}

// ImageRepositoryStatus is what the controller last saw.
type ImageRepositoryStatus struct {
	// ObservedGeneration is the generation of the spec that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions of the object.
	// +optional
	Conditions meta.Conditions `json:"conditions,omitempty"`
	// CanonicalImageName is the name of the image in full.
	// +optional
	CanonicalImageName string `json:"canonicalImageName,omitempty"`
	// LastScanResult is what the last scan found.
	// +optional
	LastScanResult *ScanResult `json:"lastScanResult,omitempty"`
	// ObservedExclusionList is spec.exclusionList as the last scan used it.
	// +optional
	ObservedExclusionList []string `json:"observedExclusionList,omitempty"`
	// LastHandledReconcileAt is the value of the last reconcile request that was served.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
}

// ImageRepository scans the tags of an image.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=imgrepo;imagerepo,categories=all;fluxcd;fluxcd-images
// +kubebuilder:printcolumn:name="Image",type="string",JSONPath=".spec.image"
// +kubebuilder:printcolumn:name="Tags",type="string",JSONPath=".status.lastScanResult.tagCount"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].status"
// +kubebuilder:printcolumn:name="Status",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].message"
// +kubebuilder:printcolumn:name="Last scan",type="string",JSONPath=".status.lastScanResult.scanTime",priority=1
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
type ImageRepository struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ImageRepositorySpec `json:"spec,omitempty"`
	// +kubebuilder:default={"observedGeneration":-1}
	Status ImageRepositoryStatus `json:"status,omitempty"`
}

// ImageRepositoryList is a list of them.
//
// +kubebuilder:object:root=true
type ImageRepositoryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ImageRepository `json:"items"`
}
