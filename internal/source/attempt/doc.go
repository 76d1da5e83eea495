// Package attempt is what one attempt of every source controller has in common: looking whether the stored artifact is
// still there, offering the one that is to be advertised, and turning what came of it into conditions, events and the
// outcome of the pass.
//
// A kind embeds Found into what its job returns and describes its failures as *Failure. Its Shelf is where its artifacts
// stand. What is left to the kind are its words, and what it looks at.
package attempt

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
	"github.com/gitops-toolkit/flux/internal/kernel"
)

// Request is the part of kernel.Request that does not depend on the kind.
type Request interface {
	Condition(conditionType string) *metav1.Condition
	SetCondition(conditionType string, status metav1.ConditionStatus, reason, message string)
	RemoveCondition(conditionType string)
	Progress(p kernel.Progress)
	Event(e kernel.Event)
}

// Found is what an attempt came to; it is filled as far as the attempt got.
type Found struct {
	// Artifact is to be advertised: the one of before, a new one, or none.
	Artifact *meta.Artifact
	// URL is the stable address of the artifact, of kinds that have one.
	URL string
	// Outdated says why the artifact of before is not what is wanted, if that is known.
	Outdated []metav1.Condition
	// Stored says that Artifact was made by this attempt.
	Stored bool
}
