package meta

import "encoding/json"

// JSON is a value of any shape, kept as the bytes that were read.
//
// +kubebuilder:validation:Type=string
// +kubebuilder:validation:Format=any-json
type JSON struct {
	// Raw is the JSON text.
	Raw []byte `json:"-"`
}

// MarshalJSON returns the text, null when there is none.
func (j JSON) MarshalJSON() ([]byte, error) {
	if len(j.Raw) == 0 {
		return []byte("null"), nil
	}
	return j.Raw, nil
}

// UnmarshalJSON keeps a copy of the text.
func (j *JSON) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	j.Raw = append([]byte(nil), data...)
	return nil
}

// Map returns the value as a map, nil when there is none; other shapes are an error.
func (j *JSON) Map() (map[string]any, error) {
	if j == nil || len(j.Raw) == 0 {
		return nil, nil
	}
	var m map[string]any
	if err := json.Unmarshal(j.Raw, &m); err != nil {
		return nil, err
	}
	return m, nil
}
