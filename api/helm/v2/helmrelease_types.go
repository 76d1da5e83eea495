package v2

import "github.com/gitops-toolkit/flux/api/meta"

// HelmReleaseSpec says which chart to release, with which values, and how.
//
// +kubebuilder:validation:XValidation:rule="(has(self.chart) && !has(self.chartRef)) || (!has(self.chart) && has(self.chartRef))",message="either chart or chartRef must be set"
type HelmReleaseSpec struct {
	// Chart is a template for a HelmChart, which is made in the namespace of its source.
	// +optional
	Chart *HelmChartTemplate `json:"chart,omitempty"`
	// ChartRef names a source that offers the chart.
	// +optional
	ChartRef *CrossNamespaceSourceReference `json:"chartRef,omitempty"`
	// Interval between two passes; a new chart or new values are acted on at once.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Interval meta.Duration `json:"interval"`
	// KubeConfig of the cluster to release to, the controller's own when absent.
	// +optional
	KubeConfig *meta.KubeConfigReference `json:"kubeConfig,omitempty"`
	// Suspend stops reconciling; the release stays.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
	// ReleaseName in Helm, [<targetNamespace>-]<name> when empty.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=53
	ReleaseName string `json:"releaseName,omitempty"`
	// TargetNamespace to release to, the HelmRelease's when empty.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	TargetNamespace string `json:"targetNamespace,omitempty"`
	// StorageNamespace for Helm's own records, the HelmRelease's when empty.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	StorageNamespace string `json:"storageNamespace,omitempty"`
	// DependsOn lists the HelmReleases that must be ready first.
	// +optional
	DependsOn []meta.DependencyReference `json:"dependsOn,omitempty"`
	// Timeout of each Helm action, 5 minutes when absent.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Timeout *meta.Duration `json:"timeout,omitempty"`
	// MaxHistory is the number of revisions that are kept, 5 when absent, all when 0.
	// +optional
	MaxHistory *int `json:"maxHistory,omitempty"`
	// ServiceAccountName in this namespace that releases the chart.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// PersistentClient keeps one client for a whole reconciliation; true when absent. Charts
	// that register API groups while they install need false.
	// +optional
	PersistentClient *bool `json:"persistentClient,omitempty"`
	// DriftDetection says what to do about objects that others have changed.
	// +optional
	DriftDetection *DriftDetection `json:"driftDetection,omitempty"`
	// Install says how to install.
	// +optional
	Install *Install `json:"install,omitempty"`
	// Upgrade says how to upgrade.
	// +optional
	Upgrade *Upgrade `json:"upgrade,omitempty"`
	// Test says how to test.
	// +optional
	Test *Test `json:"test,omitempty"`
	// Rollback says how to roll back.
	// +optional
	Rollback *Rollback `json:"rollback,omitempty"`
	// Uninstall says how to uninstall.
	// +optional
	Uninstall *Uninstall `json:"uninstall,omitempty"`
	// ValuesFrom lists ConfigMaps and Secrets with values; later ones win.
	// +optional
	ValuesFrom []ValuesReference `json:"valuesFrom,omitempty"`
	// Values for the chart; they win over ValuesFrom.
	// +optional
	Values *meta.JSON `json:"values,omitempty"`
	// CommonMetadata put on every object of the release.
	// +optional
	CommonMetadata *meta.CommonMetadata `json:"commonMetadata,omitempty"`
	// PostRenderers change the rendered manifests, in order.
	// +optional
	PostRenderers []PostRenderer `json:"postRenderers,omitempty"`
	// PostRenderStrategy says whether hooks are post-rendered: not (nohooks), together with
	// the rest (combined), or on their own (separate).
	// +optional
	// +kubebuilder:validation:Enum=nohooks;combined;separate
	PostRenderStrategy string `json:"postRenderStrategy,omitempty"`
	// WaitStrategy says how to wait for objects.
	// +optional
	WaitStrategy *WaitStrategy `json:"waitStrategy,omitempty"`
	// HealthCheckExprs tell how objects of given kinds fare.
	// +optional
	HealthCheckExprs []meta.CustomHealthCheck `json:"healthCheckExprs,omitempty"`
}

// HelmChartTemplate is what the HelmChart is made from.
type HelmChartTemplate struct {
	// ObjectMeta of the HelmChart.
	// +optional
	ObjectMeta *HelmChartTemplateObjectMeta `json:"metadata,omitempty"`
	// Spec of the HelmChart.
	// +required
	Spec HelmChartTemplateSpec `json:"spec"`
}

// HelmChartTemplateObjectMeta is metadata of the HelmChart.
type HelmChartTemplateObjectMeta struct {
	// Labels to set.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// Annotations to set.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
}

// HelmChartTemplateSpec says which chart of which source to take.
type HelmChartTemplateSpec struct {
	// Chart is the name in a Helm repository, or the path in another source.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	Chart string `json:"chart"`
	// Version or SemVer range of the chart, the newest when it is *. Read for Helm
	// repositories only.
	// +optional
	// +kubebuilder:default:=*
	Version string `json:"version,omitempty"`
	// SourceRef names the source.
	// +required
	SourceRef CrossNamespaceObjectReference `json:"sourceRef"`
	// Interval between two looks at the source, spec.interval when absent.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern="^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$"
	Interval *meta.Duration `json:"interval,omitempty"`
	// ReconcileStrategy says what makes a new chart: a new version of it, or a new revision of
	// the source.
	// +optional
	// +kubebuilder:validation:Enum=ChartVersion;Revision
	// +kubebuilder:default:=ChartVersion
	ReconcileStrategy string `json:"reconcileStrategy,omitempty"`
	// ValuesFiles are merged, later ones winning, and replace the chart's values.yaml.
	// +optional
	ValuesFiles []string `json:"valuesFiles,omitempty"`
	// IgnoreMissingValuesFiles passes over values files that do not exist.
	// +optional
	IgnoreMissingValuesFiles bool `json:"ignoreMissingValuesFiles,omitempty"`
	// Verify the signature of a chart that comes from a registry; off when absent.
	// +optional
	Verify *HelmChartTemplateVerification `json:"verify,omitempty"`

	// ValuesFile is merged before ValuesFiles.
	//
	// Deprecated: read from objects of beta versions only; see ValuesFiles.
	// +optional
	ValuesFile string `json:"valuesFile,omitempty"`
}

// HelmChartTemplateVerification says by whom a chart must be signed.
type HelmChartTemplateVerification struct {
	// Provider of the signatures.
	// +required
	// +kubebuilder:validation:Enum=cosign;notation
	// +kubebuilder:default:=cosign
	Provider string `json:"provider"`
	// SecretRef names the Secret with the public keys or certificates of those whom we trust.
	// +optional
	SecretRef *meta.LocalObjectReference `json:"secretRef,omitempty"`
}

// CrossNamespaceObjectReference names the source of a chart.
type CrossNamespaceObjectReference struct {
	// APIVersion of the source.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`
	// Kind of the source.
	// +required
	// +kubebuilder:validation:Enum=HelmRepository;GitRepository;Bucket
	Kind string `json:"kind"`
	// Name of the source.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Namespace of the source, the HelmRelease's when empty.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// CrossNamespaceSourceReference names an object that offers a chart.
type CrossNamespaceSourceReference struct {
	// APIVersion of the object.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`
	// Kind of the object.
	// +required
	// +kubebuilder:validation:Enum=OCIRepository;HelmChart;ExternalArtifact
	Kind string `json:"kind"`
	// Name of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Namespace of the object, the HelmRelease's when empty.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// ValuesReference names an object with values.
type ValuesReference struct {
	// Kind of the object.
	// +required
	// +kubebuilder:validation:Enum=Secret;ConfigMap
	Kind string `json:"kind"`
	// Name of the object, in the namespace of the HelmRelease.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// ValuesKey under which the values are found, values.yaml when empty.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[\-._a-zA-Z0-9]+$`
	ValuesKey string `json:"valuesKey,omitempty"`
	// TargetPath in the values at which a single value is put.
	// +optional
	// +kubebuilder:validation:MaxLength=250
	// +kubebuilder:validation:Pattern=`^([a-zA-Z0-9_\-.\\\/]|\[[0-9]{1,5}\])+$`
	TargetPath string `json:"targetPath,omitempty"`
	// Literal takes the value at TargetPath as it is, without reading commas, lists and types
	// out of it.
	// +optional
	Literal bool `json:"literal,omitempty"`
	// Optional: an object or key that does not exist is no error.
	// +optional
	Optional bool `json:"optional,omitempty"`
}

// DriftDetection says what to do about objects that others have changed.
type DriftDetection struct {
	// Mode: enabled puts them back, warn reports them, disabled (when empty) does not look.
	// +optional
	// +kubebuilder:validation:Enum=enabled;warn;disabled
	Mode string `json:"mode,omitempty"`
	// Ignore names fields that others may change.
	// +optional
	Ignore []meta.IgnoreRule `json:"ignore,omitempty"`
}

// WaitStrategy says how to wait for objects.
type WaitStrategy struct {
	// Name of the strategy: poller looks at the status of every kind, legacy does as Helm 3
	// did.
	// +required
	// +kubebuilder:validation:Enum=poller;legacy
	Name string `json:"name"`
}

// PostRenderer changes the rendered manifests.
type PostRenderer struct {
	// Kustomize changes them with kustomize.
	// +optional
	Kustomize *Kustomize `json:"kustomize,omitempty"`
}

// Kustomize is a list of changes that kustomize makes.
type Kustomize struct {
	// Patches to apply.
	// +optional
	Patches []meta.Patch `json:"patches,omitempty"`
	// Images to replace.
	// +optional
	Images []meta.Image `json:"images,omitempty"`

	// PatchesStrategicMerge to apply before Patches.
	//
	// Deprecated: read from objects of beta versions only; see Patches.
	// +optional
	PatchesStrategicMerge []meta.JSON `json:"patchesStrategicMerge,omitempty"`
	// PatchesJSON6902 to apply after Patches.
	//
	// Deprecated: read from objects of beta versions only; see Patches.
	// +optional
	PatchesJSON6902 []meta.JSON6902Patch `json:"patchesJson6902,omitempty"`
}
