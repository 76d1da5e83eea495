// Package setterstest writes random YAML files of which it knows where the marked values are, and what they become.
package setterstest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Image is what a policy has chosen.
type Image struct{ Name, Tag, Digest string }

// part is what a marker with a field wants.
func (i Image) part(field string) string {
	switch field {
	case ":name":
		return i.Name
	case ":tag":
		return i.Tag
	case ":digest":
		return i.Digest
	}
	text := i.Name + ":" + i.Tag
	if i.Digest != "" {
		text += "@" + i.Digest
	}
	return text
}

// Images of the policies that the files name, by namespace and name.
var Images = map[string]Image{
	"ns/app":  {Name: "ghcr.io/org/app", Tag: "1.2.0", Digest: "sha256:" + strings.Repeat("ab", 32)},
	"ns/num":  {Name: "app", Tag: "1.20"},
	"ns/word": {Name: "localhost:5000/app", Tag: "on"},
}

// quoted are the values that would be no strings without quotes.
var quoted = []string{"", "1.20", "on"}

// Marker is the comment that marks a value.
func Marker(setter string) string { return `# {"$imagepolicy": "` + setter + `"}` }

// File is the text of a file, and what it has to become.
type File struct{ Before, After string }

// Random writes a file of one to three documents; the same seed gives the same file.
func Random(seed uint64) File {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 9))}
	for range 1 + g.IntN(3) {
		g.document()
	}
	return File{Before: g.join(func(v value) string { return v.old }), After: g.join(func(v value) string { return v.new })}
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
				g.b.WriteString(strings.Repeat(" ", indent+2) + pick(g, "text", "tag: x "+Marker("ns:app:tag"), "# c") + g.eol)
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
	want := Images["ns/"+policy].part(field)
	old := pick(g, "x", "old:1.0", "with ü", "1.5")
	mark := Marker("ns:" + policy + field)
	if g.IntN(5) == 0 {
		g.lines(indent, mark, want)
		return
	}
	style := pick(g, "", "'", "\"")
	if g.IntN(6) == 0 {
		g.b.WriteString(pick(g, "!!str ", fmt.Sprintf("&a%d ", len(g.values))))
	}
	g.text = append(g.text, g.b.String())
	g.b.Reset()
	v := value{style + old + style, style + want + style}
	if style == "" {
		if slices.Contains(quoted, want) {
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
