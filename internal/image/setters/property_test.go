package setters

import (
	"bytes"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/gitops-toolkit/flux/internal/image/setters/setterstest"
)

// TestOnlyMarkedValuesChange writes random files of which it knows where the marked values are, and compares what is
// left when these are cut out, byte for byte.
func TestOnlyMarkedValuesChange(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3000) {
		file := setterstest.Random(seed)
		before, want := file.Before, file.After
		var nodes yaml.Node
		if err := yaml.Unmarshal([]byte(before), &nodes); err != nil {
			t.Fatalf("seed %d: the generator wrote no YAML: %v\n%s", seed, err, before)
		}
		got, err := Apply([]byte(before), lookup)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, before)
		}
		if string(got.Content) != want {
			t.Fatalf("seed %d: got\n%q\nwant\n%q", seed, got.Content, want)
		}
		if len(got.Skipped) != 0 {
			t.Fatalf("seed %d: skipped %+v in\n%s", seed, got.Skipped, before)
		}
		if again, err := Apply(got.Content, lookup); err != nil || len(again.Changes) != 0 {
			t.Fatalf("seed %d: a second run changes %+v, %v", seed, again.Changes, err)
		}
	}
}

// FuzzApply holds for any input that what is changed parses, and that a second run changes nothing.
func FuzzApply(f *testing.F) {
	f.Add([]byte("a: x " + m("ns:app") + "\n"))
	f.Add([]byte("- &a 'x' " + m("ns:app:tag") + "\r\n- *a\n"))
	f.Add([]byte("\ufeff{a: \"\\u0085\", b: x} " + m("ns:num:tag")))
	f.Add([]byte("a: |2+ " + m("ns:app") + "\n    x\n\n   y\nb: >- " + m("ns:num:digest") + "\n c"))
	f.Add([]byte("a: x\r\n  y " + m("ns:app") + "\r\nb: 'c\n\n d' " + m("ns:app:tag")))
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := Apply(in, lookup)
		if err != nil || len(got.Changes) == 0 {
			if !bytes.Equal(got.Content, in) {
				t.Fatalf("changed without a change: %q became %q, %v", in, got.Content, err)
			}
			return
		}
		if again, err := Apply(got.Content, lookup); err != nil || len(again.Changes) != 0 {
			t.Fatalf("%q became %q, and then %+v, %v", in, got.Content, again.Changes, err)
		}
	})
}
