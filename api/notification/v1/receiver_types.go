package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// ReceiverSpec says who may call and what a call sets off.
//
// +kubebuilder:validation:XValidation:rule="self.type != 'generic-oidc' || (has(self.oidcProviders) && size(self.oidcProviders) > 0)",message="generic-oidc receivers must define at least one oidcProvider"
// +kubebuilder:validation:XValidation:rule="self.type == 'generic-oidc' || !has(self.oidcProviders) || size(self.oidcProviders) == 0",message="oidcProviders can only be set when type is generic-oidc"
// +kubebuilder:validation:XValidation:rule="self.type != 'generic-oidc' || !has(self.secretRef)",message="secretRef cannot be set when type is generic-oidc"
// +kubebuilder:validation:XValidation:rule="self.type == 'generic-oidc' || has(self.secretRef)",message="secretRef is required when type is not generic-oidc"
type ReceiverSpec struct {
	// Type of the sender, which decides how a call is checked.
	// +required
	// +kubebuilder:validation:Enum=generic;generic-hmac;generic-oidc;github;gitlab;bitbucket;harbor;dockerhub;quay;gcr;nexus;acr;cdevents
	Type string `json:"type"`
	// Interval between two looks at the Secret.
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Interval *meta.Duration `json:"interval,omitempty"`
	// Events of the sender that count, all when empty.
	// +optional
	Events []string `json:"events,omitempty"`
	// Resources to reconcile when a call comes.
	// +required
	Resources []CrossNamespaceObjectReference `json:"resources"`
	// ResourceFilter is a CEL expression over res and req that decides whether a resource is
	// reconciled.
	// +optional
	ResourceFilter string `json:"resourceFilter,omitempty"`
	// MatchRepository reconciles, of the resources, only those that use the repository which the
	// call is about, and of these only those whose reference and directories it concerns; so one
	// Receiver can serve a whole organisation or registry. With it, a resource named * needs no
	// labels, and the namespace * stands for all.
	// +optional
	MatchRepository bool `json:"matchRepository,omitempty"`
	// SecretRef names the Secret with the token.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`
	// OIDCProviders whose tokens are accepted, for generic-oidc.
	// +optional
	// +listType=map
	// +listMapKey=issuerURL
	OIDCProviders []OIDCProvider `json:"oidcProviders,omitempty"`
	// Suspend refuses all calls.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// CrossNamespaceObjectReference names an object to reconcile.
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
	// Filter is a CEL expression over res and req that decides whether this resource is
	// reconciled.
	// +optional
	Filter string `json:"filter,omitempty"`
}

// OIDCProvider is an issuer whose tokens are accepted.
type OIDCProvider struct {
	// IssuerURL as it stands in the tokens.
	// +required
	// +kubebuilder:validation:Pattern="^https?://"
	IssuerURL string `json:"issuerURL"`
	// Audience that the tokens must be for, notification-controller when empty.
	// +optional
	Audience string `json:"audience,omitempty"`
	// Variables for the validations, computed in order.
	// +optional
	Variables []OIDCVariable `json:"variables,omitempty"`
	// Validations that a token must pass, all of them.
	// +required
	// +kubebuilder:validation:MinItems=1
	Validations []OIDCValidation `json:"validations"`
}

// OIDCVariable names the value of an expression.
type OIDCVariable struct {
	// Name of the variable, used as vars.<name>.
	// +required
	Name string `json:"name"`
	// Expression in CEL over claims and vars.
	// +required
	Expression string `json:"expression"`
}

// OIDCValidation is an expression that must be true.
type OIDCValidation struct {
	// Expression in CEL over claims and vars.
	// +required
	Expression string `json:"expression"`
	// Message when it is not true.
	// +required
	Message string `json:"message"`
}

// ReceiverStatus is what the controller last did.
type ReceiverStatus struct {
	// ObservedGeneration is the generation of the spec that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions of the object.
	// +optional
	Conditions meta.Conditions `json:"conditions,omitempty"`
	// WebhookPath to which calls are sent.
	// +optional
	WebhookPath string `json:"webhookPath,omitempty"`
	// LastHandledReconcileAt is the value of the last reconcile request that was served.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// URL is the path to which calls are sent.
	//
	// Deprecated: read from objects of beta versions only; see WebhookPath.
	// +optional
	URL string `json:"url,omitempty"`
}

// Receiver takes calls from other systems and reconciles objects upon them.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=all;fluxcd;fluxcd-notifications
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].status"
// +kubebuilder:printcolumn:name="Status",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].message"
type Receiver struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ReceiverSpec `json:"spec,omitempty"`
	// +kubebuilder:default={"observedGeneration":-1}
	Status ReceiverStatus `json:"status,omitempty"`
}

// ReceiverList is a list of them.
//
// +kubebuilder:object:root=true
type ReceiverList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Receiver `json:"items"`
}
