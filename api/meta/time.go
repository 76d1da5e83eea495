package meta

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Time is a moment in a status, written as RFC 3339 with seconds.
//
// Like Duration it never fails to read: whoever may write a status must not be able to stop
// the kind. The API server lets through moments that Go does not read, such as
// "2026-01-01t00:00:00z".
//
// +kubebuilder:validation:Type=string
// +kubebuilder:validation:Format=date-time
type Time struct {
	// Time is the value, zero where the text makes no sense.
	metav1.Time

	// Raw is the JSON text that was read, empty for a value made by a program.
	Raw string
}

// NewTime returns t as a field value.
func NewTime(t time.Time) Time { return Time{Time: metav1.NewTime(t)} }

// TimePtr returns t as the value of an optional field.
func TimePtr(t time.Time) *Time { return &Time{Time: metav1.NewTime(t)} }

// DeepCopyInto copies the receiver.
func (t *Time) DeepCopyInto(out *Time) { *out = *t }

// DeepCopy returns a copy.
func (t *Time) DeepCopy() *Time {
	if t == nil {
		return nil
	}
	out := *t
	return &out
}

// UnmarshalJSON keeps the text and takes its value if it has one. It returns no error.
func (t *Time) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("null")) {
		return nil
	}
	t.Raw = string(data)
	t.Time, _ = parseTime(t.Raw)
	return nil
}

// MarshalJSON writes the text that was read, unless a program has set another value since.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.Raw != "" {
		if v, _ := parseTime(t.Raw); v.Equal(&t.Time) {
			return []byte(t.Raw), nil
		}
	}
	return t.Time.MarshalJSON()
}

// ToUnstructured returns the value as it stands in an unstructured object.
func (t Time) ToUnstructured() any {
	data, err := t.MarshalJSON()
	if err != nil {
		return nil
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return nil
	}
	return v
}

// Err returns why the text is not a moment, nil if it is one.
func (t *Time) Err() error {
	if t == nil || t.Raw == "" {
		return nil
	}
	if v, err := parseTime(t.Raw); err != nil && v.Equal(&t.Time) {
		return err
	}
	return nil
}

func parseTime(raw string) (metav1.Time, error) {
	var t metav1.Time
	if err := t.UnmarshalJSON([]byte(raw)); err != nil {
		return metav1.Time{}, fmt.Errorf("%s is not a time: write it as \"2006-01-02T15:04:05Z\"", clip(raw))
	}
	return t, nil
}
