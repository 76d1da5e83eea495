package diff

import (
	"slices"
	"testing"
)

// A number in a Secret is as secret as a word.
func TestLeavesOfNumbers(t *testing.T) {
	t.Parallel()
	found := leaves(map[string]any{"pin": float64(123456789), "id": int64(987654), "on": true, "n": float64(1)}, nil)
	for _, want := range []string{"123456789", "987654"} {
		if !slices.Contains(found, want) {
			t.Errorf("%s is not hidden: %v", want, found)
		}
	}
	if len(found) != 4 {
		t.Errorf("short values and switches would blot out ordinary words: %v", found)
	}
}
