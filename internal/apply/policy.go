package apply

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// controls reads the per-object policies of one owner group. A policy is a label or an annotation
// <group>/<name>; values are compared without regard to case, and either place counts.
type controls string

func (c controls) has(obj metav1.Object, name, value string) bool {
	key := string(c) + "/" + name
	return strings.EqualFold(obj.GetAnnotations()[key], value) || strings.EqualFold(obj.GetLabels()[key], value)
}

// untouched says that the object is left as it is: neither written nor pruned.
func (c controls) untouched(obj metav1.Object) bool {
	return c.has(obj, "reconcile", "disabled") || c.has(obj, "ssa", "Ignore")
}

// Exempt reports whether a live object is left as it is by a policy of the owner's group.
func Exempt(obj metav1.Object, group string) bool { return controls(group).untouched(obj) }

// keep says that the live object is never pruned.
func (c controls) keep(obj metav1.Object) bool {
	return c.untouched(obj) || c.has(obj, "prune", "disabled")
}

// merge says that fields of other managers live on.
func (c controls) merge(obj metav1.Object) bool { return c.has(obj, "ssa", "Merge") }

// createOnly says that a live object is never written; only the desired object decides.
func (c controls) createOnly(obj metav1.Object) bool {
	return c.has(obj, "ssa", "IfNotPresent")
}

// force says that an immutable field may be changed by deleting and creating the object.
func (c controls) force(u *unstructured.Unstructured) bool {
	return u != nil && c.has(u, "force", "enabled")
}

// encrypted says that the object may carry a SOPS envelope to the cluster.
func (c controls) encrypted(u *unstructured.Unstructured) bool {
	return c.has(u, "decrypt", "disabled")
}
