package ignore

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

func TestExcluded(t *testing.T) {
	t.Parallel()
	type check struct {
		path string
		dir  bool
		want bool
	}
	for _, tt := range []struct {
		reason string
		files  map[string]string
		spec   string
		checks []check
	}{
		{
			reason: "nobody wrote a pattern: version control and the default list are left out",
			checks: []check{
				{".git", true, true},
				{".git/config", false, true},
				{"sub/.gitignore", false, true},
				{".gitmodules", false, true},
				{"a/logo.png", false, true},
				{"a/x.tar.gz", false, true},
				{".github", true, true},
				{".github/workflows/ci.yaml", false, true},
				{"a/.sops.yaml", false, true},
				{".travis.yml", false, true},
				{"a/deploy.yaml", false, false},
				{".sourceignore", false, false},
				{".git", false, false}, // the pattern is for directories
			},
		},
		{
			reason: "a pattern in the spec switches the default list off, never version control",
			spec:   "secret.txt\n",
			checks: []check{
				{".git/config", false, true},
				{"a/secret.txt", false, true},
				{"logo.png", false, false},
				{".github/workflows/ci.yaml", false, false},
			},
		},
		{
			reason: "a .sourceignore anywhere does the same, and is scoped to its directory",
			files:  map[string]string{"apps/.sourceignore": "/tmp\n*.md\n"},
			checks: []check{
				{"logo.png", false, false},
				{"apps/tmp/x", false, true},
				{"apps/a/tmp/x", false, false},
				{"tmp/x", false, false},
				{"apps/a/README.md", false, true},
				{"README.md", false, false},
			},
		},
		{
			reason: "comments and blank lines are no patterns",
			files:  map[string]string{".sourceignore": "# only a comment\n\n   \n"},
			spec:   "# another\n",
			checks: []check{{"logo.png", false, true}},
		},
		{
			reason: "everything but one directory",
			spec:   "/*\n!/deploy\n",
			checks: []check{
				{"deploy", true, false},
				{"deploy/prod/a.yaml", false, false},
				{"other/a.yaml", false, true},
				{"x.yaml", false, true},
			},
		},
		{
			reason: "a file comes back only with its parents",
			spec:   "/*\n!/deploy/prod\n",
			checks: []check{{"deploy/prod/a.yaml", false, true}},
		},
		{
			reason: "the directory further down wins over the one above, the spec over both",
			files:  map[string]string{".sourceignore": "*.txt\n", "a/.sourceignore": "!keep.txt\n!both.txt\n"},
			spec:   "both.txt\n",
			checks: []check{
				{"keep.txt", false, true},
				{"a/keep.txt", false, false},
				{"a/both.txt", false, true},
				{"a/other.txt", false, true},
			},
		},
		{
			reason: "the spec can include what version control rules exclude",
			spec:   "!.gitignore\n",
			checks: []check{{".gitignore", false, false}, {".gitmodules", false, true}},
		},
		{
			reason: "patterns below .git are not read, they would switch the defaults off",
			files:  map[string]string{".git/.sourceignore": "*.yaml\n"},
			checks: []check{{"a.yaml", false, false}, {"logo.png", false, true}},
		},
		{
			reason: "line ends of Windows are no part of a pattern",
			spec:   "docs\r\n*.md\r\n",
			checks: []check{{"docs", true, true}, {"a.md", false, true}},
		},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			t.Parallel()
			fsys := fstest.MapFS{}
			for name, text := range tt.files {
				fsys[name] = &fstest.MapFile{Data: []byte(text)}
			}
			set, err := load(fsys, tt.spec)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range tt.checks {
				if got := set.Excluded(c.path, c.dir); got != c.want {
					t.Errorf("Excluded(%q, dir=%v) = %v, want %v", c.path, c.dir, got, c.want)
				}
			}
		})
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"bytes":    strings.Repeat("a\n", MaxFileBytes),
		"patterns": strings.Repeat("a\n", MaxPatterns+1),
		"line":     strings.Repeat("a", maxLine+1),
	} {
		if _, err := Parse(text, "."); !errors.Is(err, ErrLimit) {
			t.Errorf("too many %s: got %v, want ErrLimit", name, err)
		}
	}
	_, err := Read(strings.NewReader(strings.Repeat("a\n", MaxFileBytes)), "apps/x")
	if !errors.Is(err, ErrLimit) || !strings.Contains(err.Error(), "apps/x/.sourceignore") {
		t.Errorf("got %v, want ErrLimit that names the file", err)
	}
}

func TestKeyFollowsEffect(t *testing.T) {
	t.Parallel()
	parse := func(text, dir string) []Pattern {
		p, err := Parse(text, dir)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	base := New(nil, true)
	keys := map[[32]byte]string{base.Key(): "base"}
	for name, rules := range map[string]*Rules{
		"no defaults":     New(nil, false),
		"spec":            New(parse("a", "."), false),
		"other spec":      New(parse("b", "."), false),
		"directory":       base.Enter("x", parse("a", "x")),
		"other directory": base.Enter("y", parse("a", "y")),
		"two directories": base.Enter("x", parse("a", "x")).Enter("x/y", parse("a", "x/y")),
	} {
		if other, found := keys[rules.Key()]; found {
			t.Errorf("%s has the key of %s", name, other)
		}
		keys[rules.Key()] = name
	}
	if base.Enter("x", nil).Key() != base.Key() {
		t.Error("a directory without patterns changes the key")
	}
	if New(parse("# c\n\na", "."), false).Key() != New(parse("a", "."), false).Key() {
		t.Error("a comment changes the key")
	}
}

// load reads all .sourceignore files of a tree and adds the text of a spec.
func load(fsys fs.FS, spec string) (*Set, error) {
	extra, err := Parse(spec, ".")
	if err != nil {
		return nil, err
	}
	return LoadBelow(fsys, ".", extra)
}

func FuzzParse(f *testing.F) {
	f.Add("/*\n!/deploy\n", "deploy/a.yaml")
	f.Add("**/a/**\n[z-a]\n!", "x/a/b")
	f.Add("\\ \n\x00\n//\n", "/")
	f.Fuzz(func(_ *testing.T, text, name string) {
		set, err := load(fstest.MapFS{}, text)
		if err != nil {
			return
		}
		set.Excluded(name, false)
		set.Excluded(name, true)
	})
}
