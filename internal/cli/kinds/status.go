package kinds

import (
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// State is the verdict on an object, as kstatus would give it.
type State int

// The states, from unfinished to final.
const (
	InProgress State = iota
	Current
	Failed
	Terminating
)

// Condition returns a condition of the object by type in whatever case, nil if there is none.
func Condition(obj meta.Object, conditionType string) *metav1.Condition {
	conditions := obj.GetConditions()
	i := slices.IndexFunc(conditions, func(c metav1.Condition) bool {
		return strings.EqualFold(c.Type, conditionType)
	})
	if i < 0 {
		return nil
	}
	return &conditions[i]
}

// StateOf judges an object of the kind. Current is said only of what the controller has said
// about this very generation; a failure that will be retried is in progress.
func (k *Kind) StateOf(obj meta.Object) (State, string) {
	if obj.GetDeletionTimestamp() != nil {
		return Terminating, "the object is being deleted"
	}
	if k.static(obj) != "" {
		return Current, k.static(obj)
	}
	if obj.GetObservedGeneration() != obj.GetGeneration() {
		return InProgress, ""
	}
	if c := Condition(obj, meta.StalledCondition); c != nil && c.Status == metav1.ConditionTrue {
		return Failed, WithCause(c.Message, obj)
	}
	if c := Condition(obj, meta.ReconcilingCondition); c != nil && c.Status == metav1.ConditionTrue {
		return InProgress, c.Message
	}
	if c := Condition(obj, meta.ReadyCondition); c != nil && c.Status == metav1.ConditionTrue {
		return Current, c.Message
	}
	return InProgress, ""
}

// WithCause adds to why nothing more is tried what went wrong last: "Failed to install after 1 attempt(s)" alone does not
// tell what to mend, nor does it that the failure was undone.
func WithCause(message string, obj meta.Object) string {
	for _, kind := range []string{"Released", "TestSuccess", meta.ReadyCondition} {
		c := Condition(obj, kind)
		if c != nil && c.Status == metav1.ConditionFalse && c.Message != "" && !strings.Contains(message, c.Message) {
			message += ": " + c.Message
		}
	}
	return message
}

// IsStatic reports whether the object has no status to wait for.
func (k *Kind) IsStatic(obj meta.Object) bool { return k.static(obj) != "" }

func (k *Kind) static(obj meta.Object) string {
	if k.Static == nil {
		return ""
	}
	return k.Static(obj)
}

// Ready returns what the table says of readiness.
func (k *Kind) Ready(obj meta.Object) (status, message string) {
	if message := k.static(obj); message != "" {
		return string(metav1.ConditionTrue), message
	}
	c := Condition(obj, meta.ReadyCondition)
	if c == nil {
		return string(metav1.ConditionFalse), "waiting to be reconciled"
	}
	return string(c.Status), c.Message
}

// longHex finds digests and commit ids.
var longHex = regexp.MustCompile(`\b[0-9a-f]{40,128}\b`)

// Shorten cuts every digest in the text to eight characters where the kind does so.
func (k *Kind) Shorten(text string) string {
	if !k.ShortHex {
		return text
	}
	return longHex.ReplaceAllStringFunc(text, func(hex string) string { return hex[:8] })
}
