package index

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitops-toolkit/flux/internal/charts/index/indextest"
)

// convert returns the stored form of an index.
func convert(t testing.TB, text string) (string, *Places, Summary, error) {
	t.Helper()
	var out bytes.Buffer
	places, summary, err := Convert(strings.NewReader(text), &out, "")
	return out.String(), places, summary, err
}

func mustConvert(t *testing.T, text string) (string, *Places, Summary) {
	t.Helper()
	out, places, summary, err := convert(t, text)
	if err != nil {
		t.Fatal(err)
	}
	return out, places, summary
}

// TestRecorded holds the stored form against the bytes that upstream stored for the same index. The recording is data
// beside the checkout; without it the test is skipped.
func TestRecorded(t *testing.T) {
	t.Parallel()
	dir := cmp.Or(os.Getenv("FLUX_RECORDED"), "/work/shared/recorded")
	in, err := os.ReadFile(filepath.Join(dir, "inputs", "charts-packed", "index.yaml"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no recording in %s; set FLUX_RECORDED to its directory", dir)
	}
	name := fmt.Sprintf("index-%x.yaml", sha256.Sum256(in))
	want, err := os.ReadFile(filepath.Join(dir, "artifacts", "files", "source-controller", "helmrepository", "flux-system", "charts", name))
	if err != nil {
		t.Fatal(err)
	}
	got, _, _ := mustConvert(t, string(in))
	if got != string(want) {
		t.Errorf("stored form\n%s\nwant\n%s", got, want)
	}
}

const plain = `apiVersion: v1
entries:
  web:
  - apiVersion: v2
    name: web
    version: 1.2.0
    created: "2026-01-02T03:04:05Z"
    urls: [web-1.2.0.tgz]
  - apiVersion: v2
    name: web
    version: 1.10.0
    created: 2026-01-03T03:04:05Z
    urls:
    - https://elsewhere.example/web-1.10.0.tgz
`

func TestLookUp(t *testing.T) {
	t.Parallel()
	out, places, summary := mustConvert(t, plain)
	if summary.Charts != 1 || summary.Versions != 2 || summary.Skipped != 0 {
		t.Errorf("summary %+v", summary)
	}
	scanned, err := Scan(strings.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Places{places, scanned} {
		list, err := p.Versions(strings.NewReader(out), "web")
		if err != nil || len(list) != 2 || list[0].Version != "1.10.0" || list[1].URLs[0] != "web-1.2.0.tgz" {
			t.Errorf("versions %+v, %v", list, err)
		}
		if _, err := p.Versions(strings.NewReader(out), "absent"); !errors.Is(err, ErrUnknownChart) {
			t.Errorf("an absent chart: %v", err)
		}
	}
}

// TestSameFromYAMLAndJSON reads what was written, which is JSON, again.
func TestSameFromYAMLAndJSON(t *testing.T) {
	t.Parallel()
	for name, text := range shapes {
		first, _, summary, err := convert(t, text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if second, _, again, err := convert(t, first); err != nil || second != first || again.Versions != summary.Versions {
			t.Errorf("%s: the stored form of the stored form is\n%s\nnot\n%s (%v)", name, second, first, err)
		}
	}
}

// shapes are ways to write indexes; each has the charts a and b, if nothing else is said.
var shapes = map[string]string{
	"plain": plain,
	"as helm writes": "apiVersion: v1\nentries:\n  a:\n  - apiVersion: v2\n    created: \"2026-01-02T03:04:05Z\"\n    description: text that\n      goes on\n    name: a\n    urls:\n    - a.tgz\n    version: 1.0.0\n" +
		"  b:\n  - name: b\n    version: 0.1.0\ngenerated: \"2026-01-02T03:04:05Z\"\n",
	"dashes further in":  "apiVersion: v1\nentries:\n    a:\n      - name: a\n        version: 1.0.0\n    b:\n      -   name: b\n          version: 1.0.0\n",
	"document markers":   "---\napiVersion: v1\nentries:\n  a:\n  - {name: a, version: 1.0.0}\n---\nnot: this\n",
	"comments and space": "# an index\napiVersion: v1 # one\n\nentries: # all\n\n  a: # first\n# odd place\n  - name: a # name\n\n    version: 1.0.0\n  # between\n  b: []\n",
	"quotes over lines":  "apiVersion: v1\nentries:\n  a:\n  - name: a\n    description: \"begins\nentries:\n  b:\n  - \\\" ends\"\n    version: 1.0.0\n",
	"single quotes":      "apiVersion: v1\nentries:\n  'a':\n  - name: 'a'\n    description: 'it''s\n  b: still'\n    version: '1.0.0'\n",
	"block scalars":      "apiVersion: v1\nentries:\n  a:\n  - name: a\n    description: |\n      - name: no\n        \"version: 2\n\n      entries:\n    version: 1.0.0\n  b:\n  - description: >-\n     folded '\n    name: b\n    version: 1.0.0\n",
	"a block at the end": "entries: {}\napiVersion: >\n v1",
	"flow over lines":    "apiVersion: v1\nentries:\n  a:\n  - {name: a, # a comment with ' and ]\n  urls: [\"x]\",\n it's], version: 1.0.0}\n",
	"unquoted odd":       "apiVersion: v1\nentries:\n  a:\n  - name: a\n    description: it's \"fine\" [here\n    version: 1.0.0\n    appVersion: 1.10\n    deprecated: true\n",
	"windows lines":      strings.ReplaceAll(plain, "\n", "\r\n"),
	"byte order mark":    "\ufeff" + plain,
	"other fields":       "serverInfo:\n  contextPath: /x\npublicKeys: [k]\nsomething: {else: [1,\n2]}\nannotations:\n  k: v\n" + plain,
	"nothing in it":      "apiVersion: v1\nentries: {}\n",
	"entries last":       "generated: 2026-01-02T03:04:05Z\n" + plain,
	"anchors":            "apiVersion: v1\nentries:\n  a:\n  - &a\n    name: a\n    version: 1.0.0\n  b:\n  - <<: *a\n    name: b\n",
	"flow style":         "{apiVersion: v1, entries: {a: [{name: a, version: 1.0.0}]}}",
	"flow below entries": "apiVersion: v1\nentries: {a: [{name: a, version: 1.0.0}]}\n",
	"indented as whole":  "  apiVersion: v1\n  entries:\n    a:\n    - name: a\n      version: 1.0.0\n",
	"tagged":             "apiVersion: !!str v1\nentries:\n  a:\n  - name: !!str\n      a\n    version: &v \"1.0.0\"\n    appVersion: *v\n",
}

// TestCutAgreesWithParser holds the way for large indexes against a parse of the whole.
func TestCutAgreesWithParser(t *testing.T) {
	t.Parallel()
	cutable := 0
	for name, text := range shapes {
		cut, ok := agree(t, text)
		if !ok {
			t.Errorf("%s: it does not parse", name)
		}
		if cut {
			cutable++
		}
	}
	if cutable < len(shapes)-4 {
		t.Errorf("only %d of %d shapes can be cut", cutable, len(shapes))
	}
}

// agree compares both ways to read YAML: was reports whether it could be cut, ok whether it is valid.
func agree(t *testing.T, text string) (was, ok bool) {
	t.Helper()
	want, wholeErr := collected(t, text, readWhole)
	got, cutErr := collected(t, text, func(r io.Reader, c *collector) error { return cut(r, c) })
	if wholeErr != nil {
		return false, false // Not valid as a whole: cut may see less of that.
	}
	if errors.Is(cutErr, errOdd) || errors.Is(cutErr, ErrLimit) {
		return false, true
	}
	if cutErr != nil {
		t.Errorf("cutting failed: %v in\n%q", cutErr, text)
	} else if got != want {
		t.Errorf("cutting gave\n%s\nparsing\n%s\nof\n%q", got, want, text)
	}
	return true, true
}

func collected(t *testing.T, text string, read func(io.Reader, *collector) error) (string, error) {
	t.Helper()
	c, err := newCollector("")
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if err := read(strings.NewReader(text), c); err != nil {
		return "", err
	}
	var out bytes.Buffer
	if _, err := c.write(&out); err != nil {
		t.Fatal(err)
	}
	return out.String(), nil
}

func TestBadEntriesAreSkipped(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ reason, entry, problem string }{
		{"no name", "version: 1.0.0", "name is missing"},
		{"no version", "name: a", "version is missing"},
		{"a version that is none", "{name: a, version: latest}", "version \"latest\""},
		{"a name that leads out", "{name: ../a, version: 1.0.0}", "is not a name"},
		{"a type nobody knows", "{name: a, version: 1.0.0, type: other}", "type \"other\""},
		{"another type than a text", "{name: [a], version: 1.0.0}", "cannot unmarshal"},
		{"nothing", "null", "name is missing"},
		{"a dependency of nothing", "{name: a, version: 1.0.0, dependencies: [null]}", "dependencies has an empty entry"},
		{"an alias that is a path", "{name: a, version: 1.0.0, dependencies: [{name: x, alias: ../x}]}", "alias"},
		{"keys that are no text", "{name: a, version: 1.0.0, dependencies: [{name: x, import-values: [{1: 2}]}]}", "json"},
	} {
		text := "apiVersion: v1\nentries:\n  a:\n  - " + tc.entry + "\n  - {name: a, version: 2.0.0}\n"
		out, places, summary, err := convert(t, text)
		if err != nil {
			t.Errorf("%s: %v", tc.reason, err)
			continue
		}
		if list, err := places.Versions(strings.NewReader(out), "a"); err != nil || len(list) != 1 || list[0].Version != "2.0.0" {
			t.Errorf("%s: versions %+v, %v", tc.reason, list, err)
		}
		if summary.Skipped != 1 || len(summary.Problems) != 1 || !strings.Contains(summary.Problems[0], tc.problem) || !strings.Contains(summary.Problems[0], `"a"`) {
			t.Errorf("%s: summary %+v", tc.reason, summary)
		}
	}
}

// TestNotAnIndexIsToldPlainly repeats nothing of our own types.
func TestNotAnIndexIsToldPlainly(t *testing.T) {
	t.Parallel()
	_, _, _, err := convert(t, "<html><body>Sign in</body></html>")
	if err == nil || strings.Contains(err.Error(), "struct") || !strings.Contains(err.Error(), "not an index of charts: line 1: cannot unmarshal") {
		t.Error(err)
	}
}

func TestNotAnIndex(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		reason, text string
		want         error
	}{
		{"nothing", "", ErrEmpty},
		{"blanks", " \n\t\n", ErrEmpty},
		{"a page for people", "<!DOCTYPE html>\n<html><body>Sign in</body></html>\n", ErrSyntax},
		{"JSON of something else", `{"message": "not found"}`, ErrNoAPIVersion},
		{"a list", "- a\n- b\n", ErrSyntax},
		{"no apiVersion", "entries:\n  a:\n  - {name: a, version: 1.0.0}\n", ErrNoAPIVersion},
		{"a JSON that was cut off", `{"apiVersion": "v1", "entries": {"a": [{"name": "a", "ver`, ErrSyntax},
		{"a YAML that was cut off", "apiVersion: v1\nentries:\n  a:\n  - name: \"a", ErrSyntax},
		{"an entry that does not parse", "apiVersion: v1\nentries:\n  a:\n  - name: a: b\n", ErrSyntax},
		{"a line without end", "apiVersion: v1\nentries:\n  a:\n  - name: " + strings.Repeat("x", maxEntry+1), ErrLimit},
		{"an endless entry", "apiVersion: v1\nentries:\n  a:\n  - name: a\n" + strings.Repeat("    keywords: []\n", maxEntry/16), ErrLimit},
	} {
		if _, _, _, err := convert(t, tc.text); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.reason, err, tc.want)
		}
	}
}

// TestLargeOddIndexIsRefused: parsing it as a whole would take twenty times its size.
func TestLargeOddIndexIsRefused(t *testing.T) {
	t.Parallel()
	entry := "  - {name: a, version: 1.0.%d, description: " + strings.Repeat("d", 1000) + "}\n"
	var b strings.Builder
	b.WriteString("apiVersion: v1\nentries:\n  a:\n  - &a {name: a, version: 1.0.0}\n  - *a\n")
	for i := range 5000 {
		fmt.Fprintf(&b, entry, i)
	}
	if _, _, _, err := convert(t, b.String()); !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), "helm repo index") {
		t.Errorf("error %v", err)
	}
}

func TestPick(t *testing.T) {
	t.Parallel()
	at := func(h int) moment { return moment{time.Date(2026, 1, 1, h, 0, 0, 0, time.UTC)} }
	list := []Version{
		{Version: "2.0.0-rc.1"}, {Version: "1.2.0+b", Created: at(1)}, {Version: "1.2.0+a", Created: at(2)}, {Version: "v1.1.0"}, {Version: "1.0.0"},
	}
	for _, tc := range []struct{ reason, want, found string }{
		{"the newest that is stable, made last", "*", "1.2.0+a"},
		{"nothing is the same as everything", "", "1.2.0+a"},
		{"an exact version, though not stable", "2.0.0-rc.1", "2.0.0-rc.1"},
		{"a range with a prerelease in it", ">=2.0.0-0", "2.0.0-rc.1"},
		{"a range", "~1.1", "v1.1.0"},
		{"an exact version with a build", "1.2.0+b", "1.2.0+b"},
		{"nothing in the range", ">9", ""},
		{"not a range", "one", ""},
	} {
		v, err := Pick("demo", tc.want, list)
		if v.Version != tc.found || (err != nil) != (tc.found == "") {
			t.Errorf("%s: %q, %v, want %q", tc.reason, v.Version, err, tc.found)
		}
	}
	var none *NoMatchError
	if _, err := Pick("demo", ">9", list); !errors.As(err, &none) || err.Error() != "no 'demo' chart with version matching '>9' found" {
		t.Errorf("error %v", err)
	}
}

func TestKnownScansOnceAndForgets(t *testing.T) {
	t.Parallel()
	var k Known
	scans := 0
	scan := func() (*Places, error) { scans++; return &Places{charts: map[string]place{"a": {}}}, nil }
	for range 3 {
		if _, err := k.Places("one", scan); err != nil || scans != 1 {
			t.Fatalf("%d scans, %v", scans, err)
		}
	}
	boom := errors.New("boom")
	if _, err := k.Places("two", func() (*Places, error) { return nil, boom }); !errors.Is(err, boom) {
		t.Errorf("error %v", err)
	}
	if _, err := k.Places("two", scan); err != nil || scans != 2 {
		t.Errorf("a failure is kept: %v", err)
	}
	for i := range 2 * maxIndexes {
		k.Keep(fmt.Sprint(i), &Places{})
	}
	if len(k.indexes) > maxIndexes {
		t.Errorf("%d indexes are kept", len(k.indexes))
	}
}

// TestMemory is a budget: the peak heap stays below three times the index, however it is written.
func TestMemory(t *testing.T) {
	dir := t.TempDir()
	yamlFile, jsonFile := filepath.Join(dir, "index.yaml"), filepath.Join(dir, "index.json")
	if err := os.WriteFile(yamlFile, []byte(indextest.Generate(6<<20, 40)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{yamlFile, jsonFile} { // the first writes the second
		var size int64
		peak := indextest.Peak(func() {
			in, err := os.Open(file)
			if err != nil {
				t.Error(err)
				return
			}
			defer in.Close()
			out, err := os.Create(filepath.Join(dir, "index.json.new"))
			if err != nil {
				t.Error(err)
				return
			}
			defer out.Close()
			if _, s, err := Convert(in, out, dir); err != nil || s.Skipped > 0 || s.Versions < 1000 {
				t.Errorf("%s: %+v, %v", file, s, err)
			}
			info, err := in.Stat()
			if err != nil {
				t.Error(err)
				return
			}
			size = info.Size()
		})
		t.Logf("%s: %d kB of index, %d kB of heap at most", filepath.Base(file), size>>10, peak>>10)
		if int64(peak) > 3*size {
			t.Errorf("%s: the heap grew by %d bytes for an index of %d", file, peak, size)
		}
		if err := os.Rename(filepath.Join(dir, "index.json.new"), jsonFile); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzConvert(f *testing.F) {
	for _, text := range shapes {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<16 {
			return
		}
		out, places, _, err := convert(t, text)
		if err == nil {
			scanned, err := Scan(strings.NewReader(out))
			if err != nil || scanned.Len() != places.Len() {
				t.Fatalf("what was written cannot be read: %v in\n%s", err, out)
			}
			for name, at := range places.charts {
				if scanned.charts[name] != at {
					t.Fatalf("chart %q is at %v, scanned %v", name, at, scanned.charts[name])
				}
			}
		}
		agree(t, text)
	})
}
