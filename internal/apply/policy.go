package apply

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Policies reads the policies that objects carry for the owners of one group. A policy is a label or an annotation
// <group>/<name>; values are compared without regard to case, and either place counts.
type Policies string

func (p Policies) has(obj metav1.Object, name, value string) bool {
	key := string(p) + "/" + name
	return strings.EqualFold(obj.GetAnnotations()[key], value) || strings.EqualFold(obj.GetLabels()[key], value)
}

// Untouched says that the object is left as it is: neither written nor pruned.
func (p Policies) Untouched(obj metav1.Object) bool {
	return p.has(obj, "reconcile", "disabled") || p.has(obj, "ssa", "Ignore")
}

// Keep says that the live object is never pruned.
func (p Policies) Keep(obj metav1.Object) bool {
	return p.Untouched(obj) || p.has(obj, "prune", "disabled")
}

// merge says that fields of other managers live on.
func (p Policies) merge(obj metav1.Object) bool { return p.has(obj, "ssa", "Merge") }

// CreateOnly says that a live object is never written; only the desired object decides.
func (p Policies) CreateOnly(obj metav1.Object) bool {
	return p.has(obj, "ssa", "IfNotPresent")
}

// Force says that an immutable field may be changed by deleting and creating the object.
func (p Policies) Force(u *unstructured.Unstructured) bool {
	return u != nil && p.has(u, "force", "enabled")
}

// encrypted says that the object may carry a SOPS envelope to the cluster.
func (p Policies) encrypted(obj metav1.Object) bool {
	return p.has(obj, "decrypt", "disabled")
}
