package setters

import (
	"strings"
	"testing"

	"github.com/gitops-toolkit/flux/internal/image/setters/setterstest"
)

func lookup(namespace, policy string) (Image, bool) {
	i, ok := setterstest.Images[namespace+"/"+policy]
	return Image(i), ok
}

const (
	digest = "sha256:abababababababababababababababababababababababababababababababab"
	whole  = "ghcr.io/org/app:1.2.0@" + digest
)

var m = setterstest.Marker

func TestApply(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ reason, in, want string }{
		{"a whole reference", "image: x:1 " + m("ns:app") + "\n", "image: " + whole + " " + m("ns:app") + "\n"},
		{"the tag", "tag: 1.0.0   " + m("ns:app:tag"), "tag: 1.2.0   " + m("ns:app:tag")},
		{"the name", "name: x " + m("ns:app:name"), "name: ghcr.io/org/app " + m("ns:app:name")},
		{"the digest", "digest: \"\" " + m("ns:app:digest"), "digest: \"" + digest + "\" " + m("ns:app:digest")},
		{"no digest", "digest: " + digest + " " + m("ns:num:digest"), "digest: \"\" " + m("ns:num:digest")},
		{"single quotes stay", "tag: 'x' " + m("ns:app:tag"), "tag: '1.2.0' " + m("ns:app:tag")},
		{"double quotes stay", "tag: \"x\\\"y\" " + m("ns:app:tag"), "tag: \"1.2.0\" " + m("ns:app:tag")},
		{"a number must be a string", "tag: 1.0.0 " + m("ns:num:tag"), "tag: \"1.20\" " + m("ns:num:tag")},
		{"a number that is right already", "tag: 1.20 " + m("ns:num:tag"), "tag: 1.20 " + m("ns:num:tag")},
		{"a boolean of old must be a string", "tag: x " + m("ns:word:tag"), "tag: \"on\" " + m("ns:word:tag")},
		{"CR LF", "a: x " + m("ns:app:tag") + "\r\nb: 'y' " + m("ns:app:tag") + "\r\n", "a: 1.2.0 " + m("ns:app:tag") + "\r\nb: '1.2.0' " + m("ns:app:tag") + "\r\n"},
		{"no line end, tabs, and a byte order mark", "\ufeffa:\tx\t" + m("ns:app:tag"), "\ufeffa:\t1.2.0\t" + m("ns:app:tag")},
		{"characters of several bytes", "{ü: \"é\", tag: x} \n---\n'ключ': 'ö' " + m("ns:app:tag"), "{ü: \"é\", tag: x} \n---\n'ключ': '1.2.0' " + m("ns:app:tag")},
		{"an odd line separator", "a: \"x\u2028y\"\nb: x " + m("ns:app:tag"), "a: \"x\u2028y\"\nb: 1.2.0 " + m("ns:app:tag")},
		{"anchor and tag", "a: &x !!str x " + m("ns:num:tag") + "\nb: *x\n", "a: &x !!str \"1.20\" " + m("ns:num:tag") + "\nb: *x\n"},
		{"above the value", "args:\n" + m("ns:app") + "\n- x\n", "args:\n" + m("ns:app") + "\n- " + whole + "\n"},
		{"in a flow", "{a: x, " + m("ns:app:name") + "\n b: y}\n", "{a: ghcr.io/org/app, " + m("ns:app:name") + "\n b: y}\n"},
		{"inside a text nothing is a marker", "values: |\n  tag: x " + m("ns:app:tag") + "\n", "values: |\n  tag: x " + m("ns:app:tag") + "\n"},
		{"behind a key nothing is a marker", "a: " + m("ns:app:tag") + "\n  b: c\n", "a: " + m("ns:app:tag") + "\n  b: c\n"},
		{"an unknown policy", "tag: x " + m("ns:none:tag"), "tag: x " + m("ns:none:tag")},
		{"an unknown field", "tag: x " + m("ns:app:version"), "tag: x " + m("ns:app:version")},
		{"no policy", "tag: x " + m("app"), "tag: x " + m("app")},
		{"nearly JSON", `tag: x # {"$imagepolicy": "ns:app:tag"`, `tag: x # {"$imagepolicy": "ns:app:tag"`},
		{"a block", "tag: >- " + m("ns:app:tag") + "\n  x\nb: c\n", "tag: >- " + m("ns:app:tag") + "\n  1.2.0\nb: c\n"},
		{"a block that ends the line", "tag: | " + m("ns:app:tag") + "\n  x\n", "tag: |- " + m("ns:app:tag") + "\n  1.2.0\n"},
		{"a block of several lines, with more behind it", "- a: |2+  " + m("ns:app:tag") + "\r\n    x\r\n\r\n    y\r\n\r\n# c\r\n- b: 'z' " + m("ns:app:tag") + "\r\n", "- a: |-  " + m("ns:app:tag") + "\r\n    1.2.0\r\n\r\n# c\r\n- b: '1.2.0' " + m("ns:app:tag") + "\r\n"},
		{"a block at the end", "tag: &a >2 " + m("ns:num:tag") + "\n   x", "tag: &a >- " + m("ns:num:tag") + "\n   1.20"},
		{"a block for nothing", "d: |- " + m("ns:num:digest") + "\n  x\n  y\nb: c\n", "d: \"\" " + m("ns:num:digest") + "\nb: c\n"},
		{"a block that is empty", "tag: | " + m("ns:app:tag") + "\n\nb: c\n", "tag: | " + m("ns:app:tag") + "\n\nb: c\n"},
		{"a block that is not understood", "tag: |2 " + m("ns:app:tag") + "\n    x\n  y\nb: z " + m("ns:app:tag") + "\n", "tag: |2 " + m("ns:app:tag") + "\n    x\n  y\nb: 1.2.0 " + m("ns:app:tag") + "\n"},
		{"several lines", "tag: x\n  y " + m("ns:app:tag") + "\nb: c\n", "tag: 1.2.0 " + m("ns:app:tag") + "\nb: c\n"},
		{"several lines, blanks and empty ones", "tag: x  z \n\n  y " + m("ns:app:tag") + "\nb: c\n", "tag: 1.2.0 " + m("ns:app:tag") + "\nb: c\n"},
		{"several lines in quotes", "tag: \"x\n  y\" " + m("ns:app:tag") + "\nb: 'p\n\n q' " + m("ns:app:tag") + "\nc: d\n", "tag: \"1.2.0\" " + m("ns:app:tag") + "\nb: '1.2.0' " + m("ns:app:tag") + "\nc: d\n"},
	} {
		got, err := Apply([]byte(tc.in), lookup)
		if err != nil || string(got.Content) != tc.want {
			t.Errorf("%s: got %q, want %q, %v", tc.reason, got.Content, tc.want, err)
		}
		again, err := Apply(got.Content, lookup)
		if err != nil || len(again.Changes) != 0 {
			t.Errorf("%s: a second run changes %+v, %v", tc.reason, again.Changes, err)
		}
	}
}

func TestApplyTellsWhatItDid(t *testing.T) {
	t.Parallel()
	in := "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: apps}\nspec:\n  image: x:1 " + m("ns:app") + "\n---\n" +
		"images:\n- newTag: 1 " + m("ns:num:tag") + "\n- newTag: 2 " + m("ns:none:tag") + "\n- newTag: " + m("ns:num:tag") + "\n"
	got, err := Apply([]byte(in), lookup)
	if err != nil || len(got.Changes) != 2 || len(got.Skipped) != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	first := got.Changes[0]
	if first.Object != (Object{"web", "apps", "apps/v1", "Deployment"}) || first.Line != 5 || first.Old != "x:1" || first.New != whole || first.Setter != "ns:app" {
		t.Errorf("first %+v", first)
	}
	if second := got.Changes[1]; second.Object != (Object{}) || second.Line != 8 || second.Old != "1" {
		t.Errorf("second %+v", second)
	}
	if s := got.Skipped; !s[0].Missing || s[0].Line != 9 || s[1].Missing || !strings.Contains(s[1].Why, `write ""`) {
		t.Errorf("skipped %+v", s)
	}
}

// TestApplyReportsMisplacedMarkers writes markers where no single value is: the file stays, and somebody is told.
func TestApplyReportsMisplacedMarkers(t *testing.T) {
	t.Parallel()
	for in, why := range map[string]string{
		"images: [a:1, b:2] " + m("ns:app") + "\n":                      "more than one value",
		"c: {image: a:1} " + m("ns:app") + "\n":                         "more than one value",
		"image: " + m("ns:app") + "\n  a:1\n":                           "below its marker",
		"image: " + m("ns:app") + "\n- a:1\n":                           "below its marker",
		"a: &a x:1\nb: *a " + m("ns:app") + "\n":                        "write the marker behind its anchor, &a",
		"a: x:1 " + m("ns:app") + " keep in step\n":                     "not the only thing in its comment",
		`a: x:1 # {"$imagepolicy": "ns:app}` + "\n":                     "no JSON",
		"# a: x:1 " + m("ns:app") + "\na: x:1 # not a \"$imagepolicy\"": "",
	} {
		got, err := Apply([]byte(in), lookup)
		told := len(got.Skipped) == 1 && got.Skipped[0].Line > 0 && !got.Skipped[0].Missing && strings.Contains(got.Skipped[0].Why, why)
		if err != nil || string(got.Content) != in || told != (why != "") {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	got, err := Apply([]byte("c: {image: a:1} "+m("other:app")+"\n"), lookup)
	if err != nil || len(got.Skipped) != 1 || !got.Skipped[0].Missing {
		t.Errorf("the marker of another namespace: %+v, %v", got, err)
	}
}

func TestApplyRefusesWhatIsNoYAML(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"a: [\nb: x " + m("ns:app:tag"), "a: x " + m("ns:app:tag") + "\n---\n\tb: :\n", "{{ if x }}\na: x " + m("ns:app:tag"), "a: \xff"} {
		got, err := Apply([]byte(in), lookup)
		if err == nil || string(got.Content) != in || len(got.Changes) != 0 {
			t.Errorf("%q became %q, %v", in, got.Content, err)
		}
	}
}
