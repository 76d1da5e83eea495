package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// Values of ImagePolicySpec.DigestReflectionPolicy.
const (
	// ReflectAlways looks the digest up at every run.
	ReflectAlways = "Always"
	// ReflectIfNotPresent looks the digest up when the tag changes.
	ReflectIfNotPresent = "IfNotPresent"
	// ReflectNever leaves the digest out.
	ReflectNever = "Never"
)

// ImagePolicySpec says which tag of an image is the latest.
//
// +kubebuilder:validation:XValidation:rule="!has(self.interval) || (has(self.digestReflectionPolicy) && self.digestReflectionPolicy == 'Always')",message="spec.interval is only accepted when spec.digestReflectionPolicy is set to 'Always'"
// +kubebuilder:validation:XValidation:rule="has(self.interval) || !has(self.digestReflectionPolicy) || self.digestReflectionPolicy != 'Always'",message="spec.interval must be set when spec.digestReflectionPolicy is set to 'Always'"
type ImagePolicySpec struct {
	// ImageRepositoryRef names the ImageRepository that scans the tags.
	// +required
	ImageRepositoryRef meta.NamespacedObjectReference `json:"imageRepositoryRef"`
	// Policy picks the latest tag.
	// +required
	Policy ImagePolicyChoice `json:"policy"`
	// FilterTags passes over tags before the policy sees them.
	// +optional
	FilterTags *TagFilter `json:"filterTags,omitempty"`
	// DigestReflectionPolicy says when the digest of the latest image is looked up.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	// +kubebuilder:default:=Never
	DigestReflectionPolicy string `json:"digestReflectionPolicy,omitempty"`
	// Interval between two looks at the digest, for the policy Always.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Interval *meta.Duration `json:"interval,omitempty"`
	// Suspend stops reconciling; the latest image stays.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// ImagePolicyChoice is one way to order tags.
type ImagePolicyChoice struct {
	// SemVer picks the highest version in a range.
	// +optional
	SemVer *SemVerPolicy `json:"semver,omitempty"`
	// Alphabetical picks the last tag by the alphabet.
	// +optional
	Alphabetical *AlphabeticalPolicy `json:"alphabetical,omitempty"`
	// Numerical picks the greatest number.
	// +optional
	Numerical *NumericalPolicy `json:"numerical,omitempty"`
}

// SemVerPolicy picks the highest version in a range.
type SemVerPolicy struct {
	// Range of versions.
	// +required
	Range string `json:"range"`
}

// AlphabeticalPolicy picks the last tag by the alphabet.
type AlphabeticalPolicy struct {
	// Order of the tags: asc picks the last, desc the first.
	// +optional
	// +kubebuilder:default:="asc"
	// +kubebuilder:validation:Enum=asc;desc
	Order string `json:"order,omitempty"`
}

// NumericalPolicy picks the greatest number.
type NumericalPolicy struct {
	// Order of the tags: asc picks the greatest, desc the least.
	// +optional
	// +kubebuilder:default:="asc"
	// +kubebuilder:validation:Enum=asc;desc
	Order string `json:"order,omitempty"`
}

// TagFilter passes over tags, or looks at a part of them.
type TagFilter struct {
	// Pattern is a regular expression that tags must match.
	// +optional
	Pattern string `json:"pattern"`
	// Extract is a template over the pattern's groups; the policy orders its result instead of
	// the tag.
	// +optional
	Extract string `json:"extract"`
}

// ImageRef is an image with tag and digest.
type ImageRef struct {
	// Name of the image, without tag.
	// +required
	Name string `json:"name"`
	// Tag of the image.
	// +required
	Tag string `json:"tag"`
	// Digest of the image.
	// +optional
	Digest string `json:"digest,omitempty"`
}

// String returns the image as it stands in a container.
func (r *ImageRef) String() string {
	s := r.Name + ":" + r.Tag
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

// ImagePolicyStatus is what the controller last picked.
type ImagePolicyStatus struct {
	// ObservedGeneration is the generation of the spec that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions of the object.
	// +optional
	Conditions meta.Conditions `json:"conditions,omitempty"`
	// LatestRef is the image that the policy picks.
	// +optional
	LatestRef *ImageRef `json:"latestRef,omitempty"`
	// ObservedPreviousRef is the image that it picked before.
	// +optional
	ObservedPreviousRef *ImageRef `json:"observedPreviousRef,omitempty"`
	// LastHandledReconcileAt is the value of the last reconcile request that was served.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// LatestImage is the image that the policy picks, as name:tag.
	//
	// Deprecated: read from objects of v1beta1 only; see LatestRef.
	// +optional
	LatestImage string `json:"latestImage,omitempty"`
}

// ImagePolicy picks the latest image of a repository.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=imgpol;imagepol,categories=all;fluxcd;fluxcd-images
// +kubebuilder:printcolumn:name="Image",type="string",JSONPath=".status.latestRef.name"
// +kubebuilder:printcolumn:name="Tag",type="string",JSONPath=".status.latestRef.tag"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].status"
// +kubebuilder:printcolumn:name="Status",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].message"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
type ImagePolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ImagePolicySpec `json:"spec,omitempty"`
	// +kubebuilder:default={"observedGeneration":-1}
	Status ImagePolicyStatus `json:"status,omitempty"`
}

// ImagePolicyList is a list of them.
//
// +kubebuilder:object:root=true
type ImagePolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ImagePolicy `json:"items"`
}
