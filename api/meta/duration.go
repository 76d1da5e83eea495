package meta

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Duration is a span of time as people write it in an object: "90s", "1h30m".
//
// Reading one never fails: an object whose duration makes no sense must not keep the informer
// of its whole kind from starting. The text is kept, Err tells what is wrong with it, and
// writing the object gives back the bytes that were read.
//
// +kubebuilder:validation:Type=string
type Duration struct {
	// Duration is the value, zero where the text makes no sense.
	time.Duration

	// Raw is the JSON text that was read, empty for a value made by a program.
	Raw string
}

// NewDuration returns d as a field value.
func NewDuration(d time.Duration) Duration { return Duration{Duration: d} }

// DurationPtr returns d as the value of an optional field.
func DurationPtr(d time.Duration) *Duration { return &Duration{Duration: d} }

// UnmarshalJSON keeps the text and takes its value if it has one. It returns no error.
func (d *Duration) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("null")) {
		return nil
	}
	d.Raw = string(data)
	d.Duration, _ = parseDuration(d.Raw)
	return nil
}

// MarshalJSON writes the text that was read, unless a program has set another value since.
func (d Duration) MarshalJSON() ([]byte, error) {
	if d.Raw != "" {
		if v, _ := parseDuration(d.Raw); v == d.Duration {
			return []byte(d.Raw), nil
		}
	}
	return json.Marshal(d.String())
}

// String returns the value as time.Duration writes it.
func (d Duration) String() string { return d.Duration.String() }

// Err returns why the text is not a duration, nil if it is one.
func (d *Duration) Err() error {
	if d == nil || d.Raw == "" {
		return nil
	}
	if v, err := parseDuration(d.Raw); err != nil && v == d.Duration {
		return err
	}
	return nil
}

// ValueOr returns the value, or def where the field is absent or makes no sense.
func (d *Duration) ValueOr(def time.Duration) time.Duration {
	if d == nil || d.Err() != nil {
		return def
	}
	return d.Duration
}

func parseDuration(raw string) (time.Duration, error) {
	var text string
	if err := json.Unmarshal([]byte(raw), &text); err != nil {
		return 0, fmt.Errorf("%s is not a duration: write it as a string such as \"10m\"", clip(raw))
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s is not a duration: write a number and a unit (ms, s, m, h), such as \"10m\"", clip(raw))
	}
	if d < 0 {
		return 0, fmt.Errorf("%s is negative: write a duration of zero or more, such as \"10m\"", clip(raw))
	}
	return d, nil
}

// clip shortens what a message quotes of somebody's input.
func clip(raw string) string {
	const limit = 64
	if len(raw) <= limit {
		return raw
	}
	return strings.ToValidUTF8(raw[:limit], "") + "…"
}
