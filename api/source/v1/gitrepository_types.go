package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// Modes of GitRepositoryVerification.
const (
	// VerifyHEAD verifies the commit that was checked out.
	VerifyHEAD = "HEAD"
	// VerifyTag verifies the tag object.
	VerifyTag = "Tag"
	// VerifyTagAndHEAD verifies both.
	VerifyTagAndHEAD = "TagAndHEAD"
)

// GitRepositorySpec says which revision of which repository to offer.
//
// +kubebuilder:validation:XValidation:rule="!has(self.serviceAccountName) || (has(self.provider) && (self.provider == 'azure' || self.provider == 'aws'))",message="serviceAccountName can only be set when provider is 'azure' or 'aws'"
type GitRepositorySpec struct {
	// URL of the repository, over HTTP, HTTPS or SSH.
	// +required
	// +kubebuilder:validation:Pattern="^(http|https|ssh)://.*$"
	URL string `json:"url"`
	// SecretRef names the Secret with the credentials. Keys for HTTP(S): username and password,
	// or bearerToken, and ca.crt, tls.crt, tls.key. Keys for SSH: identity, known_hosts, and
	// password for the key's passphrase.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`
	// Provider of the identity that logs in, generic when empty: the credentials of SecretRef.
	// +optional
	// +kubebuilder:validation:Enum=generic;aws;azure;github
	Provider string `json:"provider,omitempty"`
	// ServiceAccountName whose identity logs in at the provider.
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// Interval between two looks at the repository.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Interval meta.Duration `json:"interval"`
	// Timeout of one Git operation.
	// +optional
	// +kubebuilder:default="60s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m))+$"
	Timeout *meta.Duration `json:"timeout,omitempty"`
	// Reference that is followed, the branch master when absent.
	// +optional
	Reference *GitRepositoryRef `json:"ref,omitempty"`
	// Verification of signatures; off when absent.
	// +optional
	Verification *GitRepositoryVerification `json:"verify,omitempty"`
	// ProxySecretRef names the Secret with the proxy: address, and username and password.
	// +optional
	ProxySecretRef *meta.LocalObjectReference `json:"proxySecretRef,omitempty"`
	// Ignore lists what stays out of the artifact, in the syntax of .gitignore. It comes after
	// the .sourceignore files of the repository and replaces the built-in list.
	// +optional
	Ignore *string `json:"ignore,omitempty"`
	// Suspend stops looking at the repository; the artifact stays.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// RecurseSubmodules checks out submodules too, with the same credentials.
	// +optional
	RecurseSubmodules bool `json:"recurseSubmodules,omitempty"`
	// Include puts the artifacts of other GitRepositories into this one.
	// +optional
	Include []GitRepositoryInclude `json:"include,omitempty"`
	// SparseCheckout lists the directories to check out, all when empty.
	// +optional
	SparseCheckout []string `json:"sparseCheckout,omitempty"`

	// GitImplementation that fetched the repository; there is one now.
	//
	// Deprecated: read from objects of beta versions only, without effect.
	// +optional
	GitImplementation string `json:"gitImplementation,omitempty"`
	// AccessFrom says which namespaces may refer to the object.
	//
	// Deprecated: read from objects of beta versions only, without effect.
	// +optional
	AccessFrom *meta.AccessFrom `json:"accessFrom,omitempty"`
}

// GitRepositoryRef says which commit to check out. Commit wins over Name, Name over Tag, Tag over
// SemVer, SemVer over Branch; Branch with Commit limits the search to that branch.
type GitRepositoryRef struct {
	// Branch to follow.
	// +optional
	Branch string `json:"branch,omitempty"`
	// Tag to check out.
	// +optional
	Tag string `json:"tag,omitempty"`
	// SemVer range; the highest tag in it is checked out.
	// +optional
	SemVer string `json:"semver,omitempty"`
	// Name of a reference in full, such as refs/pull/420/head.
	// +optional
	Name string `json:"name,omitempty"`
	// Commit to check out, by its hash.
	// +optional
	Commit string `json:"commit,omitempty"`
}

// GitRepositoryVerification says which signatures must be good.
type GitRepositoryVerification struct {
	// Mode says what must be signed: the commit (HEAD), the tag (Tag), or both (TagAndHEAD).
	// +optional
	// +kubebuilder:default=HEAD
	// +kubebuilder:validation:Enum=head;HEAD;Tag;TagAndHEAD
	Mode string `json:"mode,omitempty"`
	// SecretRef names the Secret with the public keys of those whom we trust.
	// +required
	SecretRef meta.LocalObjectReference `json:"secretRef"`
}

// GitRepositoryInclude puts the artifact of another GitRepository into this one.
type GitRepositoryInclude struct {
	// GitRepositoryRef names the other object, in the same namespace.
	// +required
	GitRepositoryRef meta.LocalObjectReference `json:"repository"`
	// FromPath is the directory of the other artifact that is copied, all of it when empty.
	// +optional
	FromPath string `json:"fromPath,omitempty"`
	// ToPath is the directory to copy to, the name of the other object when empty.
	// +optional
	ToPath string `json:"toPath,omitempty"`
}

// TargetPath returns the directory to copy to.
func (in GitRepositoryInclude) TargetPath() string {
	if in.ToPath == "" {
		return in.GitRepositoryRef.Name
	}
	return in.ToPath
}

// GitRepositoryStatus is what the controller last saw.
type GitRepositoryStatus struct {
	// ObservedGeneration is the generation of the spec that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions of the object.
	// +optional
	Conditions meta.Conditions `json:"conditions,omitempty"`
	// Artifact of the last good fetch.
	// +optional
	Artifact *meta.Artifact `json:"artifact,omitempty"`
	// IncludedArtifacts are the artifacts that went into this one, in the order of spec.include.
	// +optional
	IncludedArtifacts []*meta.Artifact `json:"includedArtifacts,omitempty"`
	// ObservedIgnore is spec.ignore as the artifact was made with it.
	// +optional
	ObservedIgnore *string `json:"observedIgnore,omitempty"`
	// ObservedRecurseSubmodules is spec.recurseSubmodules as the artifact was made with it.
	// +optional
	ObservedRecurseSubmodules bool `json:"observedRecurseSubmodules,omitempty"`
	// ObservedInclude is spec.include as the artifact was made with it.
	// +optional
	ObservedInclude []GitRepositoryInclude `json:"observedInclude,omitempty"`
	// ObservedSparseCheckout is spec.sparseCheckout as the artifact was made with it.
	// +optional
	ObservedSparseCheckout []string `json:"observedSparseCheckout,omitempty"`
	// SourceVerificationMode is the mode in which the artifact's signatures were last verified.
	// +optional
	SourceVerificationMode *string `json:"sourceVerificationMode,omitempty"`
	// LastHandledReconcileAt is the value of the last reconcile request that was served.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// URL of the latest artifact.
	//
	// Deprecated: read from objects of beta versions only; see Artifact.
	// +optional
	URL string `json:"url,omitempty"`
	// ContentConfigChecksum of the settings that the artifact was made with.
	//
	// Deprecated: read from objects of beta versions only; see the observed fields.
	// +optional
	ContentConfigChecksum string `json:"contentConfigChecksum,omitempty"`
}

// GitRepository offers a revision of a Git repository as an artifact.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=gitrepo,categories=all;fluxcd;fluxcd-sources
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.spec.url`
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].status"
// +kubebuilder:printcolumn:name="Status",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].message"
type GitRepository struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec GitRepositorySpec `json:"spec,omitempty"`
	// +kubebuilder:default={"observedGeneration":-1}
	Status GitRepositoryStatus `json:"status,omitempty"`
}

// GitRepositoryList is a list of them.
//
// +kubebuilder:object:root=true
type GitRepositoryList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []GitRepository `json:"items"`
}
