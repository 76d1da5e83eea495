package meta

// LocalObjectReference names an object in the namespace of the referrer.
type LocalObjectReference struct {
	// Name of the referent.
	// +required
	Name string `json:"name"`
}

// NamespacedObjectReference names an object in any namespace; empty means the referrer's.
type NamespacedObjectReference struct {
	// Name of the referent.
	// +required
	Name string `json:"name"`
	// Namespace of the referent, the referrer's when empty.
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// NamespacedObjectKindReference names an object of a kind in any namespace.
type NamespacedObjectKindReference struct {
	// APIVersion of the referent, the kind's usual one when empty.
	// +optional
	APIVersion string `json:"apiVersion,omitempty"`
	// Kind of the referent.
	// +required
	Kind string `json:"kind"`
	// Name of the referent.
	// +required
	Name string `json:"name"`
	// Namespace of the referent, the referrer's when empty.
	// +optional
	Namespace string `json:"namespace,omitempty"`
}

// SecretKeyReference names a key of a Secret in the namespace of the referrer.
type SecretKeyReference struct {
	// Name of the Secret.
	// +required
	Name string `json:"name"`
	// Key in the Secret; the consumer's default when empty.
	// +optional
	Key string `json:"key,omitempty"`
}
