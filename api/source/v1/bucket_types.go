package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// BucketSpec says which objects of which bucket to offer.
//
// +kubebuilder:validation:XValidation:rule="self.provider == 'aws' || self.provider == 'generic' || !has(self.sts)",message="STS configuration is only supported for the 'aws' and 'generic' Bucket providers"
// +kubebuilder:validation:XValidation:rule="self.provider != 'aws' || !has(self.sts) || self.sts.provider == 'aws'",message="'aws' is the only supported STS provider for the 'aws' Bucket provider"
// +kubebuilder:validation:XValidation:rule="self.provider != 'generic' || !has(self.sts) || self.sts.provider == 'ldap'",message="'ldap' is the only supported STS provider for the 'generic' Bucket provider"
// +kubebuilder:validation:XValidation:rule="!has(self.sts) || self.sts.provider != 'aws' || !has(self.sts.secretRef)",message="spec.sts.secretRef is not required for the 'aws' STS provider"
// +kubebuilder:validation:XValidation:rule="!has(self.sts) || self.sts.provider != 'aws' || !has(self.sts.certSecretRef)",message="spec.sts.certSecretRef is not required for the 'aws' STS provider"
// +kubebuilder:validation:XValidation:rule="self.provider != 'generic' || !has(self.serviceAccountName)",message="ServiceAccountName is not supported for the 'generic' Bucket provider"
// +kubebuilder:validation:XValidation:rule="!has(self.secretRef) || !has(self.serviceAccountName)",message="cannot set both .spec.secretRef and .spec.serviceAccountName"
type BucketSpec struct {
	// Provider of the storage; generic is any that speaks S3.
	// +optional
	// +kubebuilder:validation:Enum=generic;aws;gcp;azure
	// +kubebuilder:default:=generic
	Provider string `json:"provider,omitempty"`
	// BucketName is the bucket, or the container at Azure.
	// +required
	BucketName string `json:"bucketName"`
	// Endpoint of the storage: host and port, or a URL at Azure.
	// +required
	Endpoint string `json:"endpoint"`
	// STS says where to get temporary credentials.
	// +optional
	STS *BucketSTSSpec `json:"sts,omitempty"`
	// Insecure allows a storage without TLS.
	// +optional
	Insecure bool `json:"insecure,omitempty"`
	// Region of the bucket.
	// +optional
	Region string `json:"region,omitempty"`
	// Prefix of the objects to offer, all when empty.
	// +optional
	Prefix string `json:"prefix,omitempty"`
	// SecretRef names the Secret with the credentials. Keys for S3: accesskey and secretkey;
	// for Google: serviceaccount; for Azure: those of a service principal, accountKey or
	// sasKey.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`
	// ServiceAccountName whose identity logs in at the provider.
	// +optional
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// CertSecretRef names the Secret with the TLS files: ca.crt, and tls.crt with tls.key.
	// Read for generic and aws.
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
	// Timeout of fetching the objects.
	// +optional
	// +kubebuilder:default="60s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m))+$"
	Timeout *meta.Duration `json:"timeout,omitempty"`
	// Ignore lists what stays out of the artifact, in the syntax of .gitignore.
	// +optional
	Ignore *string `json:"ignore,omitempty"`
	// Suspend stops reconciling; what there is stays.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// AccessFrom says which namespaces may refer to the object.
	//
	// Deprecated: read from objects of beta versions only, without effect.
	// +optional
	AccessFrom *meta.AccessFrom `json:"accessFrom,omitempty"`
}

// BucketSTSSpec says where to get temporary credentials.
type BucketSTSSpec struct {
	// Provider of the service.
	// +required
	// +kubebuilder:validation:Enum=aws;ldap
	Provider string `json:"provider"`
	// Endpoint of the service.
	// +required
	// +kubebuilder:validation:Pattern="^(http|https)://.*$"
	Endpoint string `json:"endpoint"`
	// SecretRef names the Secret with username and password, for ldap.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`
	// CertSecretRef names the Secret with the TLS files, for ldap.
	// +optional
	CertSecretRef *meta.LocalObjectReference `json:"certSecretRef,omitempty"`
}

// BucketStatus is what the controller last saw.
type BucketStatus struct {
	// ObservedGeneration is the generation of the spec that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions of the object.
	// +optional
	Conditions meta.Conditions `json:"conditions,omitempty"`
	// URL at which the artifact is served.
	// +optional
	URL string `json:"url,omitempty"`
	// Artifact of the last success.
	// +optional
	Artifact *meta.Artifact `json:"artifact,omitempty"`
	// ObservedIgnore is spec.ignore as the artifact was made with it.
	// +optional
	ObservedIgnore *string `json:"observedIgnore,omitempty"`
	// LastHandledReconcileAt is the value of the last reconcile request that was served.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
}

// Bucket offers the objects of a bucket as an artifact.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories=all;fluxcd;fluxcd-sources
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Endpoint",type="string",JSONPath=".spec.endpoint"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].status"
// +kubebuilder:printcolumn:name="Status",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].message"
type Bucket struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec BucketSpec `json:"spec,omitempty"`
	// +kubebuilder:default={"observedGeneration":-1}
	Status BucketStatus `json:"status,omitempty"`
}

// BucketList is a list of them.
//
// +kubebuilder:object:root=true
type BucketList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Bucket `json:"items"`
}
