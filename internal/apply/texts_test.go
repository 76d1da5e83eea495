package apply

import (
	"slices"
	"strings"
	"testing"
)

// A number in a Secret is as secret as a word.
func TestTextsOfNumbers(t *testing.T) {
	t.Parallel()
	found := Texts(map[string]any{"pin": float64(123456789), "id": int64(987654), "on": true, "n": float64(1)}, nil)
	for _, want := range []string{"123456789", "987654"} {
		if !slices.Contains(found, want) {
			t.Errorf("%s is not hidden: %v", want, found)
		}
	}
	if len(found) != 4 {
		t.Errorf("short values and switches would blot out ordinary words: %v", found)
	}
}

// A text of several lines is hidden where it is shown line by line, or encoded.
func TestTextsOfLines(t *testing.T) {
	t.Parallel()
	secret := "first line\nsecond line\n"
	for _, shown := range []string{"- first line\n+ second line", "x: Zmlyc3QgbGluZQpzZWNvbmQgbGluZQo="} {
		if got := Conceal(shown, Texts([]any{secret}, nil)); strings.Contains(got, "line") || strings.Contains(got, "Zmly") {
			t.Errorf("shown: %s", got)
		}
	}
}
