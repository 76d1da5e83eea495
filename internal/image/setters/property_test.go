package setters

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestOnlyMarkedValuesChange writes random files of which it knows where the marked values are, and compares what is
// left when these are cut out, byte for byte.
func TestOnlyMarkedValuesChange(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3000) {
		g := &generator{Rand: rand.New(rand.NewPCG(seed, 9))}
		for range 1 + g.IntN(3) {
			g.document()
		}
		before, want := g.join(func(v value) string { return v.old }), g.join(func(v value) string { return v.new })
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

// value is a marked value, before and after.
type value struct{ old, new string }

// generator writes text, and values between it.
type generator struct {
	*rand.Rand
	text   []string // one more than values
	values []value
	b      strings.Builder
	eol    string
}

func (g *generator) join(of func(value) string) string {
	var b strings.Builder
	for i, v := range g.values {
		b.WriteString(g.text[i])
		b.WriteString(of(v))
	}
	b.WriteString(g.b.String())
	return b.String()
}

func pick[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

func (g *generator) document() {
	if g.eol == "" {
		g.eol = pick(g, "\n", "\r\n")
	}
	if g.b.Len() > 0 || len(g.values) > 0 {
		g.b.WriteString("---" + pick(g, "", " # next") + g.eol)
	}
	g.mapping(0, 3)
}

func (g *generator) mapping(indent, depth int) {
	for i := range 1 + g.IntN(4) {
		g.noise(indent)
		g.b.WriteString(strings.Repeat(" ", indent) + pick(g, "k", "ключ", "\"q k\"", "'s'") + "")
		key := g.b.String()
		g.b.Reset()
		g.b.WriteString(strings.TrimSuffix(key, "'s'"))
		if strings.HasSuffix(key, "'s'") {
			g.b.WriteString("s")
		}
		if !strings.HasSuffix(g.b.String(), "\"") {
			fmt.Fprint(&g.b, i)
		} else {
			s := strings.TrimSuffix(g.b.String(), "\"")
			g.b.Reset()
			g.b.WriteString(fmt.Sprint(s, i, "\""))
		}
		g.b.WriteString(":")
		switch kind := g.IntN(7); {
		case kind == 0 && depth > 0:
			g.b.WriteString(g.eol)
			g.mapping(indent+2, depth-1)
		case kind == 1 && depth > 0:
			g.b.WriteString(g.eol)
			g.sequence(indent+pick(g, 0, 2), depth-1)
		case kind == 2:
			g.b.WriteString(" |" + g.eol)
			for range 1 + g.IntN(3) {
				g.b.WriteString(strings.Repeat(" ", indent+2) + pick(g, "text", "tag: x "+m("ns:app:tag"), "# c") + g.eol)
			}
		default:
			g.scalar(indent)
		}
	}
}

func (g *generator) sequence(indent, depth int) {
	for range 1 + g.IntN(3) {
		g.noise(indent)
		g.b.WriteString(strings.Repeat(" ", indent) + "-")
		g.scalar(indent)
	}
	_ = depth
}

// noise are comments and empty lines between entries.
func (g *generator) noise(indent int) {
	switch g.IntN(5) {
	case 0:
		g.b.WriteString(g.eol)
	case 1:
		g.b.WriteString(strings.Repeat(" ", g.IntN(indent+1)) + "# a comment, ü" + g.eol)
	}
}

// scalar writes a value with or without a marker, and ends the line.
func (g *generator) scalar(indent int) {
	g.b.WriteString(pick(g, " ", "  ", "   "))
	if g.IntN(2) == 0 {
		g.b.WriteString(pick(g, "plain", "'it''s'", "\"a\\\"b\"", "{a: b, c: [d, e]}", "17", "yes", "ghcr.io/org/app:1.0.0", "übel") + pick(g, "", " # c", "   # {not json}") + g.eol)
		return
	}
	policy := pick(g, "app", "num", "word")
	field := pick(g, "", ":name", ":tag", ":digest")
	mk, _ := readMarker(m("ns:" + policy + field))
	img, _ := lookup("ns", policy)
	want, _ := mk.value(img)
	old := pick(g, "x", "old:1.0", "with ü", "1.5")
	mark := m("ns:" + policy + field)
	if g.IntN(5) == 0 {
		g.lines(indent, mark, want)
		return
	}
	style := pick[yaml.Style](g, 0, yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle)
	if g.IntN(6) == 0 {
		g.b.WriteString(pick(g, "!!str ", fmt.Sprintf("&a%d ", len(g.values))))
	}
	g.text = append(g.text, g.b.String())
	g.b.Reset()
	v := value{quote(old, style), quote(want, style)}
	if style == 0 {
		if plain := encode(want, 0); plain != want { // Numbers, booleans and nothing need quotes.
			v.new = "\"" + want + "\""
		}
	}
	g.values = append(g.values, v)
	g.b.WriteString(pick(g, " ", "\t", "    ") + mark + pick(g, "", " ") + g.eol)
}

// lines writes a value that goes over several lines: one in quotes, or a block with the marker behind its sign.
func (g *generator) lines(indent int, mark, want string) {
	pad := strings.Repeat(" ", indent+2)
	if g.IntN(2) == 0 {
		g.b.WriteString("'")
		g.cut("a"+g.eol+pick(g, "", g.eol)+pad+"b", want)
		g.b.WriteString("' " + mark + g.eol)
		return
	}
	sign := pick(g, "|", ">")
	old := pad + "a" + g.eol + pick(g, "", g.eol+pad+"b"+g.eol)
	head := sign + pick(g, "", "-", "+")
	if want == "" {
		g.cut(head, `""`)
		g.b.WriteString(" " + mark)
		g.cut(g.eol+strings.TrimSuffix(old, g.eol), "")
	} else {
		g.cut(head, sign+"-")
		g.b.WriteString(" " + mark + g.eol + pad)
		g.cut(strings.TrimSuffix(strings.TrimPrefix(old, pad), g.eol), want)
	}
	g.b.WriteString(g.eol)
}

// cut notes a piece of text that changes.
func (g *generator) cut(old, now string) {
	g.text = append(g.text, g.b.String())
	g.b.Reset()
	g.values = append(g.values, value{old, now})
}

func quote(s string, style yaml.Style) string {
	switch style {
	case yaml.SingleQuotedStyle:
		return "'" + s + "'"
	case yaml.DoubleQuotedStyle:
		return "\"" + s + "\""
	}
	return s
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
