package substitute

import (
	"errors"
	"strings"
	"testing"
)

var sample = Variables{
	"name": "prod", "empty": "", "path": "/usr/local/lib.tar.gz", "mixed": "abcABC", "dash": "a-b-a", "n": "-2",
	"glob": "x*y", "umlaut": "äöü", "q": `"`, "Über": "x",
}

func TestExpand(t *testing.T) {
	t.Parallel()
	for reason, c := range map[string]struct{ in, want string }{
		"plain":                            {"a $name $$ {name} $", "a $name $$ {name} $"},
		"value":                            {"<${name}>", "<prod>"},
		"two":                              {"${name}${name}", "prodprod"},
		"empty value is set":               {"<${empty}>", "<>"},
		"escape":                           {"$${name}", "${name}"},
		"escape keeps operators":           {"$${name:-${name}}", "${name:-prod}"},
		"length":                           {"${#name}", "4"},
		"length is in bytes":               {"${#umlaut}", "6"},
		"upper":                            {"${name^^} ${name^}", "PROD Prod"},
		"lower":                            {"${mixed,,} ${mixed,}", "abcabc abcABC"},
		"upper of a wide letter":           {"${umlaut^}", "Äöü"},
		"from position":                    {"${mixed:3}", "ABC"},
		"from position with length":        {"${mixed:1:2}", "bc"},
		"position beyond the end":          {"<${mixed:9}>", "<>"},
		"length beyond the end":            {"${mixed:4:9}", "BC"},
		"negative position":                {"${mixed: -2}", "BC"},
		"negative position from variable":  {"${mixed:${n}}", "BC"},
		"negative position before start":   {"${mixed: -99}", "abcABC"},
		"negative length":                  {"${mixed:1:-2}", "bcA"},
		"position is no number":            {"${mixed:x}", "abcABC"},
		"length is no number":              {"${mixed:1:x}", "abcABC"},
		"shortest prefix":                  {"${path#*/}", "usr/local/lib.tar.gz"},
		"longest prefix":                   {"${path##*/}", "lib.tar.gz"},
		"shortest suffix":                  {"${path%.*}", "/usr/local/lib.tar"},
		"longest suffix":                   {"${path%%.*}", "/usr/local/lib"},
		"prefix that does not match":       {"${path#x}", "/usr/local/lib.tar.gz"},
		"prefix with a class":              {"${mixed#[a-b][!a]}", "cABC"},
		"suffix with ?":                    {"${mixed%?}", "abcAB"},
		"escaped star":                     {`${glob#x\*}`, "y"},
		"open class is text":               {"${mixed#[a}", "abcABC"},
		"replace first":                    {"${dash/a/x}", "x-b-a"},
		"replace all":                      {"${dash//a/x}", "x-b-x"},
		"replace prefix":                   {"${dash/#a/x}", "x-b-a"},
		"replace suffix":                   {"${dash/%a/x}", "a-b-x"},
		"replace is not a glob":            {"${glob/*/+}", "x+y"},
		"remove":                           {"${dash//-/}", "aba"},
		"remove without second slash":      {"${dash//-}", "aba"},
		"replacement with slash":           {"${name/prod/a/b}", "a/b"},
		"default of unset":                 {"${x:-d} ${x-d} ${x:=d} ${x=d}", "d d d d"},
		"default of empty":                 {"${empty:-d} ${empty-d} ${empty:=d} ${empty=d}", "d d d d"},
		"default not needed":               {"${name:-d}", "prod"},
		"alternatives act as defaults":     {"${x:+d} ${x+d} ${x:?d} ${x?d} ${name:+d}", "d d d d prod"},
		"default with a colon":             {"${x:-http://h:1/p}", "http://h:1/p"},
		"empty default":                    {"<${x:-}>", "<>"},
		"nested default":                   {"${x:=${y:=${name}}}", "prod"},
		"default is not evaluated":         {"${name:=${unset}}", "prod"},
		"values are not expanded":          {"${deep:-a}$${b}", "a${b}"},
		"quoting trick":                    {"v: ${q}${name}${q}", `v: "prod"`},
		"digits":                           {"${1:-one}", "one"},
		"newline in default":               {"${x:-a\nb}", "a\nb"},
		"brace ends default":               {"${x:-{a}}", "{a}"},
		"not UTF-8 stays as it is":         {"\xff${name}\xfe", "\xffprod\xfe"},
		"dollar before an expression":      {"$${name}${name}", "${name}prod"},
		"three dollars":                    {"$$${name}", "$${name}"},
		"unset with operators in lax mode": {"<${x}${x^^}${#x}${x:1}${x#a}${x/a/b}>", "<0>"},
	} {
		got, err := Expand(c.in, sample.Lookup, false)
		if err != nil || got != c.want {
			t.Errorf("%s: Expand(%q) = %q, %v; want %q", reason, c.in, got, err, c.want)
		}
	}
}

func TestExpandRefuses(t *testing.T) {
	t.Parallel()
	for reason, in := range map[string]string{
		"no name":        "${}",
		"no end":         "a ${name",
		"no end of args": "${name:-x",
		"bad operator":   "${name!}",
		"indirection":    "${!name}",
		"array":          "${name[0]}",
		"space":          "${name }",
		"deep":           strings.Repeat("${x:-", MaxDepth+1) + strings.Repeat("}", MaxDepth+1),
	} {
		if _, err := Expand(in, sample.Lookup, false); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: Expand(%q) error = %v, want a syntax error", reason, in, err)
		}
	}
}

func TestExpandErrorNamesLine(t *testing.T) {
	t.Parallel()
	_, err := Expand("a: 1\nb: ${bad!}\n", sample.Lookup, false)
	if err == nil || !strings.Contains(err.Error(), "line 2") || !strings.Contains(err.Error(), "${bad!}") {
		t.Errorf("error = %v, want the line and the expression", err)
	}
}

func TestExpandStrict(t *testing.T) {
	t.Parallel()
	for reason, c := range map[string]struct{ in, unset string }{
		"bare":                        {"${x}", "x"},
		"transforming":                {"${x^^}", "x"},
		"length":                      {"${#x}", "x"},
		"slice":                       {"${x:1}", "x"},
		"nested in a used default":    {"${y:-${x}}", "x"},
		"nested in an argument":       {"${name/p/${x}}", "x"},
		"default":                     {"${x:=d}", ""},
		"empty default":               {"${x:-}", ""},
		"empty value":                 {"${empty}", ""},
		"nested in an unused default": {"${name:-${x}}", ""},
	} {
		_, err := Expand(c.in, sample.Lookup, true)
		var unset *UnsetError
		switch {
		case c.unset == "" && err != nil:
			t.Errorf("%s: %v", reason, err)
		case c.unset != "" && (!errors.As(err, &unset) || unset.Name != c.unset):
			t.Errorf("%s: error = %v, want %q unset", reason, err, c.unset)
		}
	}
	_, err := Expand("${from_cm}", sample.Lookup, true)
	if want := `variable not set (strict mode): "from_cm"`; err == nil || err.Error() != want {
		t.Errorf("error = %v, want the text of the tables: %s", err, want)
	}
}

func TestExpandBoundsItsWork(t *testing.T) {
	t.Parallel()
	big := Variables{"big": strings.Repeat("a", 1<<20)}
	for reason, in := range map[string]string{
		"output":  strings.Repeat("${big}", 100),
		"replace": strings.Repeat("${big//a}", 2000),
		"glob":    "${big##" + strings.Repeat("*a", 1000) + "}",
	} {
		if _, err := Expand(in, big.Lookup, false); err == nil {
			t.Errorf("%s: no error", reason)
		}
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	got := Merge(map[string]string{"a": "1", "b": "1\n2\n"}, nil, map[string]string{"a": "2"})
	if len(got) != 2 || got["a"] != "2" || got["b"] != "12" {
		t.Errorf("Merge = %v, want the later value and no line breaks", got)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	if err := (Variables{"a_1": "", "_": ""}).Validate(); err != nil {
		t.Error(err)
	}
	err := Variables{"ok": "", "b-c": "", "1a": ""}.Validate()
	if want := `'1a' var name is invalid, must match '^[_[:alpha:]][_[:alpha:][:digit:]]*$'; rename it`; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

func FuzzExpand(f *testing.F) {
	for _, seed := range []string{
		"${name}", "$${x}", "${a:=${b}}", "${#x}", "${x:1:2}", "${x##*/}", "${x//a/b}", "${", "${x:-", "a}b", "${x/#[a-/y}",
	} {
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, in string, strict bool) {
		out, err := Expand(in, sample.Lookup, strict)
		if err != nil {
			return
		}
		if !Expanded(in) && out != in {
			t.Errorf("Expand(%q) = %q, but there is nothing to expand", in, out)
		}
		lax, err := Expand(in, sample.Lookup, false)
		if err != nil || strict && lax != out {
			t.Errorf("Expand(%q) strict = %q, lax = %q, %v", in, out, lax, err)
		}
	})
}

func FuzzTrim(f *testing.F) {
	f.Add("/usr/local/lib", "*/")
	f.Fuzz(func(t *testing.T, value, pattern string) {
		if len(value)*len(pattern) > 1<<16 {
			return
		}
		for _, longest := range []bool{false, true} {
			if got := trimPrefix(value, pattern, longest); !strings.HasSuffix(value, got) {
				t.Errorf("trimPrefix(%q, %q) = %q, which is no suffix of the value", value, pattern, got)
			}
			if got := trimSuffix(value, pattern, longest); !strings.HasPrefix(value, got) {
				t.Errorf("trimSuffix(%q, %q) = %q, which is no prefix of the value", value, pattern, got)
			}
		}
	})
}
