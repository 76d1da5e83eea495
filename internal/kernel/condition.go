package kernel

import (
	"slices"
	"unicode/utf8"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gitops-toolkit/flux/api/meta"
)

// setCondition sets c on obj for the object's generation. The transition time moves only when
// something that a person sees changes with the status, as apimachinery defines it.
func setCondition(obj meta.Object, c metav1.Condition) {
	c.Message = cutMessage(c.Message)
	c.ObservedGeneration = obj.GetGeneration()
	if c.Reason == "" {
		c.Reason = meta.ProgressingReason
	}
	list := slices.Clone(obj.GetConditions())
	apimeta.SetStatusCondition(&list, c)
	obj.SetConditions(list)
}

func removeCondition(obj meta.Object, conditionType string) {
	list := slices.Clone(obj.GetConditions())
	if apimeta.RemoveStatusCondition(&list, conditionType) {
		obj.SetConditions(list)
	}
}

// cutMessage keeps a message within the limit of the API.
func cutMessage(s string) string { return cutTo(s, meta.MaxConditionMessageLength) }

// cutTo keeps s within a number of bytes, whole characters only.
func cutTo(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	const dots = "..."
	s = s[:limit-len(dots)]
	for len(s) > 0 {
		if r, n := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || n > 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s + dots
}

// restoreCondition puts a condition back as it was, its times included.
func restoreCondition(obj meta.Object, c metav1.Condition) {
	list := slices.DeleteFunc(slices.Clone(obj.GetConditions()), func(x metav1.Condition) bool { return x.Type == c.Type })
	obj.SetConditions(append(list, c))
}

// conditionOf returns a copy of a condition, nil when it is not there.
func conditionOf(obj meta.Object, conditionType string) *metav1.Condition {
	c := apimeta.FindStatusCondition(obj.GetConditions(), conditionType)
	if c == nil {
		return nil
	}
	return c.DeepCopy()
}

// requestOf returns the value of the request annotation.
func requestOf(obj meta.Object) string { return obj.GetAnnotations()[meta.ReconcileRequestAnnotation] }

// answer records that a request by annotation was handled.
func answer(obj meta.Object, request string) {
	if request != "" {
		obj.SetLastHandledReconcileAt(request)
	}
}
