package values

import (
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v2"

	"github.com/gitops-toolkit/flux/internal/artifact"
)

// Digest identifies values: of their YAML with all keys sorted, of no bytes where there are none. It is the digest that
// the status of releases made by others holds.
func Digest(algorithm artifact.Algorithm, v map[string]any) (artifact.Digest, error) {
	if len(v) == 0 {
		return artifact.DigestOf(algorithm, nil), nil
	}
	text, err := yaml.Marshal(sorted(v))
	if err != nil {
		return "", fmt.Errorf("encode values: %w", err)
	}
	return artifact.DigestOf(algorithm, text), nil
}

// Verify tells whether values have a digest, by the algorithm that the digest names.
func Verify(digest string, v map[string]any) bool {
	parsed, err := artifact.ParseDigest(digest)
	if err != nil {
		return false
	}
	got, err := Digest(parsed.Algorithm(), v)
	return err == nil && got == parsed
}

// sorted fixes the order of keys at every level.
func sorted(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(yaml.MapSlice, 0, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = append(out, yaml.MapItem{Key: k, Value: sorted(v[k])})
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = sorted(item)
		}
		return out
	}
	return v
}
