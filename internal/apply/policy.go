package apply

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// controls reads the per-object policies of one owner group. A policy is a label or an annotation
// <group>/<name>; values are compared without regard to case, and either place counts.
type controls string

func (c controls) has(u *unstructured.Unstructured, name, value string) bool {
	if u == nil {
		return false
	}
	key := string(c) + "/" + name
	return strings.EqualFold(u.GetAnnotations()[key], value) || strings.EqualFold(u.GetLabels()[key], value)
}

// untouched says that the object is left as it is: neither written nor pruned.
func (c controls) untouched(u *unstructured.Unstructured) bool {
	return c.has(u, "reconcile", "disabled") || c.has(u, "ssa", "Ignore")
}

// keep says that the live object is never pruned.
func (c controls) keep(u *unstructured.Unstructured) bool {
	return c.untouched(u) || c.has(u, "prune", "disabled")
}

// merge says that fields of other managers live on.
func (c controls) merge(u *unstructured.Unstructured) bool { return c.has(u, "ssa", "Merge") }

// createOnly says that a live object is never written; only the desired object decides.
func (c controls) createOnly(u *unstructured.Unstructured) bool {
	return c.has(u, "ssa", "IfNotPresent")
}

// force says that an immutable field may be changed by deleting and creating the object.
func (c controls) force(u *unstructured.Unstructured) bool { return c.has(u, "force", "enabled") }

// encrypted says that the object may carry a SOPS envelope to the cluster.
func (c controls) encrypted(u *unstructured.Unstructured) bool {
	return c.has(u, "decrypt", "disabled")
}
