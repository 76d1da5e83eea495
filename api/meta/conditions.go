package meta

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Conditions is a list of conditions that can always be read: one with a transition time that
// Go does not understand gets none, see Time.
type Conditions []metav1.Condition

// UnmarshalJSON reads the list, and a time that makes no sense as no time.
func (c *Conditions) UnmarshalJSON(data []byte) error {
	var strict []metav1.Condition
	if err := json.Unmarshal(data, &strict); err == nil {
		*c = strict
		return nil
	}
	var lenient []struct {
		metav1.Condition `json:",inline"`
		// It hides the field of the same name in Condition.
		LastTransitionTime Time `json:"lastTransitionTime"`
	}
	if err := json.Unmarshal(data, &lenient); err != nil {
		return err
	}
	*c = make(Conditions, 0, len(lenient))
	for _, l := range lenient {
		l.Condition.LastTransitionTime = l.LastTransitionTime.Time
		*c = append(*c, l.Condition)
	}
	return nil
}

// Get returns the condition of a type, nil if there is none.
func (c Conditions) Get(conditionType string) *metav1.Condition {
	for i := range c {
		if c[i].Type == conditionType {
			return &c[i]
		}
	}
	return nil
}

// ObservedGeneration returns the generation that the Ready condition speaks of, -1 without
// one, for kinds whose status has no field for it.
func (c Conditions) ObservedGeneration() int64 {
	if ready := c.Get(ReadyCondition); ready != nil {
		return ready.ObservedGeneration
	}
	return -1
}
