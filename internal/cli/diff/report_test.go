package diff

import (
	"testing"

	"sigs.k8s.io/yaml"
)

// TestReport shows each kind of difference as people know it.
func TestReport(t *testing.T) {
	t.Parallel()
	var from, to map[string]any
	for text, into := range map[string]*map[string]any{
		"{a: {x: 1, u: 2}, list: [a, b, c], named: [{name: p, v: 1}, {name: q}], one: [{k: 1}], text: \"a\\nb\\nc\", type: 1, order: [x, u]}":                              &from,
		"{a: {x: 1, z: 3, w: 4}, list: [a, c, d], named: [{name: r}, {name: p, v: 2}], one: [{k: 2}], text: \"a\\nB\\nc\", type: \"1\", order: [u, x], new: {deep: true}}": &to,
	} {
		if err := yaml.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	const want = `(root level)
+ one map entry added:
  new:
    deep: true

a
- one map entry removed:
  u: 2

a
+ two map entries added:
  w: 4
  z: 3

list
- one list entry removed:
  - b

list
+ one list entry added:
  - d

named
- one list entry removed:
  - name: q

named
+ one list entry added:
  - name: r

named.p.v
± value change
- 1
+ 2

one.0.k
± value change
- 1
+ 2

order
⇆ order changed
- x, u
+ u, x

text
± value change in multiline text (one insert, one deletion)
- b
+ B

type
± type change from float to string
- 1
+ 1

`
	if got := report(from, to); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := report(from, from); got != "" {
		t.Errorf("no difference: %s", got)
	}
}
