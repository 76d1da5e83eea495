package v1beta3

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// Values of AlertSpec.EventSeverity.
const (
	// SeverityInfo takes all events.
	SeverityInfo = "info"
	// SeverityError takes failures only.
	SeverityError = "error"
)

// AlertSpec says which events go to which provider.
type AlertSpec struct {
	// ProviderRef names the Provider.
	// +required
	ProviderRef meta.LocalObjectReference `json:"providerRef"`
	// EventSeverity from which events are sent.
	// +optional
	// +kubebuilder:validation:Enum=info;error
	// +kubebuilder:default:=info
	EventSeverity string `json:"eventSeverity,omitempty"`
	// EventSources are the objects whose events are sent.
	// +required
	EventSources []CrossNamespaceObjectReference `json:"eventSources"`
	// EventMetadata is added to each event.
	// +optional
	EventMetadata map[string]string `json:"eventMetadata,omitempty"`
	// InclusionList of regular expressions, one of which a message must match to be sent.
	// +optional
	InclusionList []string `json:"inclusionList,omitempty"`
	// ExclusionList of regular expressions, none of which a message may match.
	// +optional
	ExclusionList []string `json:"exclusionList,omitempty"`
	// Summary is a short text added to each event; see the key summary of EventMetadata, which
	// replaces it.
	// +optional
	// +kubebuilder:validation:MaxLength=255
	Summary string `json:"summary,omitempty"`
	// Suspend sends nothing.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// Transitions sends, of all events, only that an object began to fail and that it works again.
	// +optional
	Transitions *Transitions `json:"transitions,omitempty"`
	// Digest gathers the events of one revision into one message. Commit statuses and comments on
	// change requests are about single objects and are not gathered.
	// +optional
	Digest *Digest `json:"digest,omitempty"`
}

// Transitions says when a failure is worth telling.
type Transitions struct {
	// Threshold is how long an object must have failed before that is sent; one that works again
	// before is not mentioned at all. At once when empty.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Threshold *meta.Duration `json:"threshold,omitempty"`
}

// Digest says how events are gathered.
type Digest struct {
	// Window is how long the first event of a revision waits for the others, one minute when empty.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Window *meta.Duration `json:"window,omitempty"`
}

// CrossNamespaceObjectReference names an object whose events are sent.
type CrossNamespaceObjectReference struct {
	// APIVersion of the object.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`
	// Kind of the object.
	// +required
	// +kubebuilder:validation:Enum=Bucket;GitRepository;Kustomization;HelmRelease;HelmChart;HelmRepository;ImageRepository;ImagePolicy;ImageUpdateAutomation;OCIRepository;ArtifactGenerator;ExternalArtifact
	Kind string `json:"kind"`
	// Name of the object, or * for all of the kind.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Namespace of the object, the referrer's when empty.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Namespace string `json:"namespace,omitempty"`
	// MatchLabels that the objects must have when Name is *.
	// +optional
	MatchLabels map[string]string `json:"matchLabels,omitempty"`
}

// Alert sends events of objects to a provider.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:resource:categories=all;fluxcd;fluxcd-notifications
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
type Alert struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec AlertSpec `json:"spec,omitempty"`
}

// AlertList is a list of them.
//
// +kubebuilder:object:root=true
type AlertList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Alert `json:"items"`
}
