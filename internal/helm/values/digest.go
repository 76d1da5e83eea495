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

// Within tells whether a release with the values have is one for the values want on top of others that it kept: each that
// is wanted is there, and what is wanted to be null is not.
func Within(want, have map[string]any) bool {
	for key, w := range want {
		h, ok := have[key]
		if w == nil {
			if h != nil {
				return false
			}
			continue
		}
		wm, wIsMap := w.(map[string]any)
		hm, hIsMap := h.(map[string]any)
		if wIsMap && hIsMap {
			if !Within(wm, hm) {
				return false
			}
			continue
		}
		if !ok || !same(w, h) {
			return false
		}
	}
	return true
}

// same compares values by what is written of them, because numbers come in several types.
func same(a, b any) bool {
	x, errX := Digest(artifact.SHA256, map[string]any{"": a})
	y, errY := Digest(artifact.SHA256, map[string]any{"": b})
	return errX == nil && errY == nil && x == y
}
