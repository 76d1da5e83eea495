package meta

// KubeConfigReference says how to reach another cluster; exactly one of its fields is set.
//
// +kubebuilder:validation:XValidation:rule="has(self.configMapRef) || has(self.secretRef)",message="exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be specified"
// +kubebuilder:validation:XValidation:rule="!has(self.configMapRef) || !has(self.secretRef)",message="exactly one of spec.kubeConfig.configMapRef or spec.kubeConfig.secretRef must be specified"
type KubeConfigReference struct {
	// ConfigMapRef names a ConfigMap that describes the cluster for a login without a stored
	// secret. Keys: provider (aws, azure, gcp or generic), cluster, address, ca.crt,
	// audiences, serviceAccountName.
	// +optional
	ConfigMapRef *LocalObjectReference `json:"configMapRef,omitempty"`
	// SecretRef names a Secret with a kubeconfig under the key value or value.yaml, unless it
	// names another key.
	// +optional
	SecretRef *SecretKeyReference `json:"secretRef,omitempty"`
}

// DependencyReference names an object that must be ready first: of the same kind, or of any other with a status.
type DependencyReference struct {
	// APIVersion of the dependency, that of the referrer when empty. Given together with Kind.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`
	// Kind of the dependency, that of the referrer when empty. Objects of other kinds are read as the ServiceAccount
	// of the referrer.
	// +optional
	Kind string `json:"kind,omitempty"`
	// Name of the dependency.
	// +required
	Name string `json:"name"`
	// Namespace of the dependency, the referrer's when empty.
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// ReadyExpr is a CEL expression over self and dep that decides whether the dependency is
	// ready, instead of its Ready condition.
	// +optional
	ReadyExpr string `json:"readyExpr,omitempty"`
}

// CustomHealthCheck tells with CEL expressions over an object's fields how it fares.
type CustomHealthCheck struct {
	// APIVersion of the kind; only the group counts.
	// +required
	APIVersion string `json:"apiVersion"`
	// Kind that the expressions are for, every kind of the group when empty.
	// +optional
	Kind string `json:"kind,omitempty"`
	// Current is true when the object has become what was asked for.
	// +required
	Current string `json:"current"`
	// InProgress is true while the object is on its way.
	// +optional
	InProgress string `json:"inProgress,omitempty"`
	// Failed is true when the object will not get there.
	// +optional
	Failed string `json:"failed,omitempty"`
}

// CommonMetadata is put on every object that is applied, over what the object says.
type CommonMetadata struct {
	// Annotations to set.
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
	// Labels to set.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
}

// ResourceInventory lists the objects that an owner has applied.
type ResourceInventory struct {
	// Entries, one for each object.
	// +required
	Entries []ResourceRef `json:"entries"`
}

// ResourceRef is one object in an inventory.
type ResourceRef struct {
	// ID is <namespace>_<name>_<group>_<kind>.
	// +required
	ID string `json:"id"`
	// Version is the API version, without the group.
	// +required
	Version string `json:"v"`
}

// AccessFrom says from which namespaces an object may be referred to.
type AccessFrom struct {
	// NamespaceSelectors: a namespace that one of them matches has access.
	// +required
	NamespaceSelectors []NamespaceSelector `json:"namespaceSelectors"`
}

// NamespaceSelector matches namespaces by their labels; an empty one matches all.
type NamespaceSelector struct {
	// MatchLabels must all be on the namespace.
	// +optional
	MatchLabels map[string]string `json:"matchLabels,omitempty"`
}
