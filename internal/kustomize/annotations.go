package kustomize

import "strings"

// Annotations of ours on a Kustomization. A change of one starts a pass.
const (
	// onErrorAnnotation set to Continue applies what is valid when other objects are not.
	onErrorAnnotation = "gitops-toolkit.dev/on-error"
	// pruneBudgetAnnotation is how many objects one reconciliation may delete: "10", or "25%" of the inventory.
	pruneBudgetAnnotation = "gitops-toolkit.dev/prune-budget"
	// driftCorrectionAnnotation set to immediate or interval overrides --drift-correction.
	driftCorrectionAnnotation = "gitops-toolkit.dev/drift-correction"
	// rollbackAnnotation set to last-healthy applies the last revision that was healthy when a new one is not.
	rollbackAnnotation = "gitops-toolkit.dev/rollback"
)

// continues says that invalid objects do not keep the others from being applied.
func (t *target) continues() bool {
	return strings.EqualFold(t.object.Annotations[onErrorAnnotation], "Continue")
}
