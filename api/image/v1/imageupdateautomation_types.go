package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// SettersStrategy updates the fields that carry a marker naming an ImagePolicy.
const SettersStrategy = "Setters"

// ImageUpdateAutomationSpec says which repository to write the latest images to, and how.
type ImageUpdateAutomationSpec struct {
	// SourceRef names the GitRepository.
	// +required
	SourceRef CrossNamespaceSourceReference `json:"sourceRef"`
	// GitSpec says how to check out, commit and push.
	// +optional
	GitSpec *GitSpec `json:"git,omitempty"`
	// Interval between two runs.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Interval meta.Duration `json:"interval"`
	// PolicySelector picks the ImagePolicies, all of the namespace when absent.
	// +optional
	PolicySelector *metav1.LabelSelector `json:"policySelector,omitempty"`
	// Update says how files are changed.
	// +optional
	// +kubebuilder:default:={"strategy":"Setters"}
	Update *UpdateStrategy `json:"update,omitempty"`
	// Suspend stops updating.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// CrossNamespaceSourceReference names the repository.
type CrossNamespaceSourceReference struct {
	// APIVersion of the source.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`
	// Kind of the source.
	// +required
	// +kubebuilder:validation:Enum=GitRepository
	// +kubebuilder:default:=GitRepository
	Kind string `json:"kind"`
	// Name of the source.
	// +required
	Name string `json:"name"`
	// Namespace of the source, the automation's when empty.
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// GitSpec says how to check out, commit and push.
type GitSpec struct {
	// Checkout says which revision to change, that of the GitRepository when absent.
	// +optional
	Checkout *GitCheckoutSpec `json:"checkout,omitempty"`
	// Commit says how the commit looks.
	// +required
	Commit CommitSpec `json:"commit"`
	// Push says where the commit goes, back to the branch that was checked out when absent.
	// +optional
	Push *PushSpec `json:"push,omitempty"`
}

// GitCheckoutSpec says which revision to change.
type GitCheckoutSpec struct {
	// Reference to check out.
	// +required
	Reference GitRepositoryRef `json:"ref"`
}

// GitRepositoryRef says which commit to check out.
type GitRepositoryRef struct {
	// Branch to check out.
	// +optional
	Branch string `json:"branch,omitempty"`
	// Tag to check out.
	// +optional
	Tag string `json:"tag,omitempty"`
	// SemVer range; the highest tag in it is checked out.
	// +optional
	SemVer string `json:"semver,omitempty"`
	// Name of a reference in full.
	// +optional
	Name string `json:"name,omitempty"`
	// Commit to check out, by its hash.
	// +optional
	Commit string `json:"commit,omitempty"`
}

// CommitSpec says how the commit looks.
type CommitSpec struct {
	// Author of the commit.
	// +required
	Author CommitUser `json:"author"`
	// SigningKey to sign the commit with.
	// +optional
	SigningKey *SigningKey `json:"signingKey,omitempty"`
	// MessageTemplate of the commit message, a Go template.
	// +optional
	MessageTemplate string `json:"messageTemplate,omitempty"`
	// MessageTemplateValues are values for the template.
	// +optional
	MessageTemplateValues map[string]string `json:"messageTemplateValues,omitempty"`
}

// CommitUser is a person or machine that commits.
type CommitUser struct {
	// Name of the author.
	// +optional
	Name string `json:"name,omitempty"`
	// Email of the author.
	// +required
	Email string `json:"email"`
}

// SigningKey names a key to sign with.
type SigningKey struct {
	// SecretRef names the Secret: git.asc and passphrase for gpg, identity and password for
	// ssh.
	// +required
	SecretRef meta.LocalObjectReference `json:"secretRef"`
	// Type of the key, gpg when empty.
	// +optional
	// +kubebuilder:validation:Enum=gpg;ssh
	Type string `json:"type,omitempty"`
}

// PushSpec says where the commit goes.
type PushSpec struct {
	// Branch to push to, that of the checkout when empty; it is created when it does not exist.
	// +optional
	Branch string `json:"branch,omitempty"`
	// Refspec to push as well, after the branch; what stands behind the colon gets the commit.
	// +optional
	Refspec string `json:"refspec,omitempty"`
	// Options sent with the pushes, to servers that take push options.
	// +optional
	Options map[string]string `json:"options,omitempty"`
}

// UpdateStrategy says how files are changed.
type UpdateStrategy struct {
	// Strategy by which the fields to update are found.
	// +optional
	// +kubebuilder:default:="Setters"
	// +kubebuilder:validation:Enum=Setters
	Strategy string `json:"strategy,omitempty"`
	// Path of the directory to update, the root of the repository when empty.
	// +optional
	Path string `json:"path,omitempty"`
}

// ImageUpdateAutomationStatus is what the controller last did.
type ImageUpdateAutomationStatus struct {
	// ObservedGeneration is the generation of the spec that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions of the object.
	// +optional
	Conditions meta.Conditions `json:"conditions,omitempty"`
	// LastAutomationRunTime is when the automation last ran.
	// +optional
	LastAutomationRunTime *meta.Time `json:"lastAutomationRunTime,omitempty"`
	// LastPushCommit is the commit that was last pushed.
	// +optional
	LastPushCommit string `json:"lastPushCommit,omitempty"`
	// LastPushTime is when it was pushed.
	// +optional
	LastPushTime *meta.Time `json:"lastPushTime,omitempty"`
	// ObservedPolicies are the images of the policies at the last run.
	// +optional
	ObservedPolicies map[string]ImageRef `json:"observedPolicies,omitempty"`
	// ObservedSourceRevision is the revision that was last checked out.
	// +optional
	ObservedSourceRevision string `json:"observedSourceRevision,omitempty"`
	// LastHandledReconcileAt is the value of the last reconcile request that was served.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
	// PendingCommit is one that spec.git.push.refspec has not got yet, absent when there is none.
	// +optional
	PendingCommit string `json:"pendingCommit,omitempty"`
}

// ImageUpdateAutomation writes the latest images into a Git repository.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=iua;imgupd;imgauto,categories=all;fluxcd;fluxcd-images
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].status"
// +kubebuilder:printcolumn:name="Status",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].message"
// +kubebuilder:printcolumn:name="Last run",type="string",JSONPath=".status.lastAutomationRunTime",priority=1
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
type ImageUpdateAutomation struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ImageUpdateAutomationSpec `json:"spec,omitempty"`
	// +kubebuilder:default={"observedGeneration":-1}
	Status ImageUpdateAutomationStatus `json:"status,omitempty"`
}

// ImageUpdateAutomationList is a list of them.
//
// +kubebuilder:object:root=true
type ImageUpdateAutomationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []ImageUpdateAutomation `json:"items"`
}
