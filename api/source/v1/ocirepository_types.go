package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// Operations of OCILayerSelector.
const (
	// OCILayerExtract unpacks the layer and offers its files.
	OCILayerExtract = "extract"
	// OCILayerCopy offers the layer as it is.
	OCILayerCopy = "copy"
)

// OCIRepositorySpec says which artifact of which repository in a registry to offer.
type OCIRepositorySpec struct {
	// URL of the repository: oci:// and its name, without tag or digest.
	// +required
	// +kubebuilder:validation:Pattern="^oci://.*$"
	URL string `json:"url"`
	// Reference that is followed, the tag latest when absent.
	// +optional
	Reference *OCIRepositoryRef `json:"ref,omitempty"`
	// LayerSelector picks the layer and what to do with it; the first, unpacked, when absent.
	// +optional
	LayerSelector *OCILayerSelector `json:"layerSelector,omitempty"`
	// Provider of the identity that logs in; generic uses SecretRef and ServiceAccountName.
	// +optional
	// +kubebuilder:validation:Enum=generic;aws;azure;gcp
	// +kubebuilder:default:=generic
	Provider string `json:"provider,omitempty"`
	// SecretRef names a Secret of the type kubernetes.io/dockerconfigjson.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`
	// Verify the signature; off when absent.
	// +optional
	Verify *OCIRepositoryVerification `json:"verify,omitempty"`
	// ServiceAccountName whose image pull secrets, or whose identity at the provider, log in.
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// CertSecretRef names the Secret with the TLS files: ca.crt, and tls.crt with tls.key.
	// +optional
	CertSecretRef *meta.LocalObjectReference `json:"certSecretRef,omitempty"`
	// ProxySecretRef names the Secret with the proxy: address, and username and password.
	// +optional
	ProxySecretRef *meta.LocalObjectReference `json:"proxySecretRef,omitempty"`
	// Interval between two looks at the source.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Interval meta.Duration `json:"interval"`

	// Timeout of one operation of the registry.
	// +optional
	// +kubebuilder:default="60s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m))+$"
	Timeout *meta.Duration `json:"timeout,omitempty"`
	// Ignore lists what stays out of the artifact, in the syntax of .gitignore.
	// +optional
	Ignore *string `json:"ignore,omitempty"`
	// Insecure allows a registry without TLS.
	// +optional
	Insecure bool `json:"insecure,omitempty"`
	// Suspend stops reconciling; what there is stays.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// OCIRepositoryRef says which version to take. Digest wins over SemVer, SemVer over Tag.
type OCIRepositoryRef struct {
	// Digest of the manifest, as sha256:<hex>.
	// +optional
	Digest string `json:"digest,omitempty"`
	// SemVer range; the highest tag in it is taken.
	// +optional
	SemVer string `json:"semver,omitempty"`
	// SemverFilter is a regular expression that tags must match before SemVer sees them.
	// +optional
	SemverFilter string `json:"semverFilter,omitempty"`
	// Tag to follow.
	// +optional
	Tag string `json:"tag,omitempty"`
}

// OCILayerSelector picks one layer of an artifact.
type OCILayerSelector struct {
	// MediaType of the layer; the first layer with it is taken.
	// +optional
	MediaType string `json:"mediaType,omitempty"`
	// Operation on the layer: extract (when empty) unpacks it, copy offers it as it is.
	// +optional
	// +kubebuilder:validation:Enum=extract;copy
	Operation string `json:"operation,omitempty"`
}

// OCIRepositoryVerification says by whom an artifact must be signed.
type OCIRepositoryVerification struct {
	// Provider of the signatures.
	// +required
	// +kubebuilder:validation:Enum=cosign;notation
	// +kubebuilder:default:=cosign
	Provider string `json:"provider"`
	// SecretRef names the Secret with the public keys or certificates of those whom we trust.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`
	// MatchOIDCIdentity lists identities, one of which must have signed without a key of its
	// own.
	// +optional
	MatchOIDCIdentity []OIDCIdentityMatch `json:"matchOIDCIdentity,omitempty"`
	// TrustedRootSecretRef names the Secret with the trusted root of a private Sigstore, under
	// trusted_root.json.
	// +optional
	TrustedRootSecretRef *meta.LocalObjectReference `json:"trustedRootSecretRef,omitempty"`
}

// OIDCIdentityMatch is an identity that may sign; both fields are regular expressions.
type OIDCIdentityMatch struct {
	// Issuer of the identity token.
	// +required
	Issuer string `json:"issuer"`
	// Subject of the identity token.
	// +required
	Subject string `json:"subject"`
}

// OCIRepositoryStatus is what the controller last saw.
type OCIRepositoryStatus struct {
	// ObservedGeneration is the generation of the spec that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions of the object.
	// +optional
	Conditions meta.Conditions `json:"conditions,omitempty"`
	// Artifact of the last success.
	// +optional
	Artifact *meta.Artifact `json:"artifact,omitempty"`
	// URL at which the artifact is served.
	// +optional
	URL string `json:"url,omitempty"`
	// ObservedIgnore is spec.ignore as the artifact was made with it.
	// +optional
	ObservedIgnore *string `json:"observedIgnore,omitempty"`
	// ObservedLayerSelector is spec.layerSelector as the artifact was made with it.
	// +optional
	ObservedLayerSelector *OCILayerSelector `json:"observedLayerSelector,omitempty"`
	// LastHandledReconcileAt is the value of the last reconcile request that was served.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// ContentConfigChecksum of the settings that the artifact was made with.
	//
	// Deprecated: read from objects of beta versions only; see the observed fields.
	// +optional
	ContentConfigChecksum string `json:"contentConfigChecksum,omitempty"`
}

// OCIRepository offers an artifact of an OCI registry.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=ocirepo,categories=all;fluxcd;fluxcd-sources
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="URL",type="string",JSONPath=".spec.url"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].status"
// +kubebuilder:printcolumn:name="Status",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].message"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
type OCIRepository struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec OCIRepositorySpec `json:"spec,omitempty"`
	// +kubebuilder:default={"observedGeneration":-1}
	Status OCIRepositoryStatus `json:"status,omitempty"`
}

// OCIRepositoryList is a list of them.
//
// +kubebuilder:object:root=true
type OCIRepositoryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []OCIRepository `json:"items"`
}
