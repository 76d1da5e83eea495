package v1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// Values of HelmChartSpec.ReconcileStrategy.
const (
	// ReconcileStrategyChartVersion makes an artifact for each version of the chart.
	ReconcileStrategyChartVersion = "ChartVersion"
	// ReconcileStrategyRevision makes an artifact for each revision of the source.
	ReconcileStrategyRevision = "Revision"
)

// HelmChartSpec says which chart of which source to offer.
//
// +kubebuilder:validation:XValidation:rule="!has(self.verify) || self.sourceRef.kind == 'HelmRepository'",message="spec.verify is only supported when spec.sourceRef.kind is 'HelmRepository'"
type HelmChartSpec struct {
	// Chart is the name in a Helm repository, or the path in another source.
	// +required
	Chart string `json:"chart"`
	// Version or SemVer range of the chart, the newest when it is *. Read for Helm
	// repositories only.
	// +optional
	// +kubebuilder:default:=*
	Version string `json:"version,omitempty"`
	// SourceRef names the source.
	// +required
	SourceRef LocalHelmChartSourceReference `json:"sourceRef"`
	// Interval between two looks at the source.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Interval meta.Duration `json:"interval"`
	// ReconcileStrategy says what makes a new artifact: a new version of the chart, or a new
	// revision of the source.
	// +optional
	// +kubebuilder:validation:Enum=ChartVersion;Revision
	// +kubebuilder:default:=ChartVersion
	ReconcileStrategy string `json:"reconcileStrategy,omitempty"`
	// ValuesFiles are merged, later ones winning, and replace the chart's values.yaml. Paths
	// are relative to the source's root.
	// +optional
	ValuesFiles []string `json:"valuesFiles,omitempty"`
	// IgnoreMissingValuesFiles passes over values files that do not exist.
	// +optional
	IgnoreMissingValuesFiles bool `json:"ignoreMissingValuesFiles,omitempty"`
	// Suspend stops reconciling; what there is stays.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// Verify the signature of a chart that comes from a registry; off when absent.
	// +optional
	Verify *HelmChartVerification `json:"verify,omitempty"`

	// ValuesFile is merged before ValuesFiles.
	//
	// Deprecated: read from objects of beta versions only; see ValuesFiles.
	// +optional
	ValuesFile string `json:"valuesFile,omitempty"`
	// AccessFrom says which namespaces may refer to the object.
	//
	// Deprecated: read from objects of beta versions only, without effect.
	// +optional
	AccessFrom *meta.AccessFrom `json:"accessFrom,omitempty"`
}

// HelmChartVerification says by whom a chart must be signed.
type HelmChartVerification struct {
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
}

// LocalHelmChartSourceReference names a source in the same namespace.
type LocalHelmChartSourceReference struct {
	// APIVersion of the source.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`
	// Kind of the source.
	// +required
	// +kubebuilder:validation:Enum=HelmRepository;GitRepository;Bucket
	Kind string `json:"kind"`
	// Name of the source.
	// +required
	Name string `json:"name"`
}

// HelmChartStatus is what the controller last saw.
type HelmChartStatus struct {
	// ObservedGeneration is the generation of the spec that the status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions of the object.
	// +optional
	Conditions meta.Conditions `json:"conditions,omitempty"`
	// ObservedSourceArtifactRevision is the revision of the source that the chart was taken
	// from.
	// +optional
	ObservedSourceArtifactRevision string `json:"observedSourceArtifactRevision,omitempty"`
	// ObservedChartName is the name in the chart's metadata.
	// +optional
	ObservedChartName string `json:"observedChartName,omitempty"`
	// ObservedValuesFiles were found and merged.
	// +optional
	ObservedValuesFiles []string `json:"observedValuesFiles,omitempty"`
	// URL at which the artifact is served.
	// +optional
	URL string `json:"url,omitempty"`
	// Artifact of the last success.
	// +optional
	Artifact *meta.Artifact `json:"artifact,omitempty"`
	// LastHandledReconcileAt is the value of the last reconcile request that was served.
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
}

// HelmChart offers a packaged chart of a source.
//
// +kubebuilder:object:root=true
// +kubebuilder:storageversion
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=hc,categories=all;fluxcd;fluxcd-sources
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Chart",type="string",JSONPath=".spec.chart"
// +kubebuilder:printcolumn:name="Version",type="string",JSONPath=".spec.version"
// +kubebuilder:printcolumn:name="Source Kind",type="string",JSONPath=".spec.sourceRef.kind"
// +kubebuilder:printcolumn:name="Source Name",type="string",JSONPath=".spec.sourceRef.name"
// +kubebuilder:printcolumn:name="Age",type="date",JSONPath=".metadata.creationTimestamp"
// +kubebuilder:printcolumn:name="Ready",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].status"
// +kubebuilder:printcolumn:name="Status",type="string",JSONPath=".status.conditions[?(@.type==\"Ready\")].message"
type HelmChart struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec HelmChartSpec `json:"spec,omitempty"`
	// +kubebuilder:default={"observedGeneration":-1}
	Status HelmChartStatus `json:"status,omitempty"`
}

// HelmChartList is a list of them.
//
// +kubebuilder:object:root=true
type HelmChartList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []HelmChart `json:"items"`
}
