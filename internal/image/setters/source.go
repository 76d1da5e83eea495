package setters

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// source finds the bytes of a scalar from the line and column that the parser tells.
type source struct {
	content []byte
	lines   []int // where each line begins
}

var bom = []byte("\xef\xbb\xbf")

// breaks are what the parser takes for the end of a line. CR LF is one.
var breaks = [][]byte{[]byte("\r\n"), []byte("\n"), []byte("\r"), []byte("\u0085"), []byte("\u2028"), []byte("\u2029")}

func newSource(content []byte) *source {
	s := &source{content: content}
	at := 0
	if bytes.HasPrefix(content, bom) {
		at = len(bom)
	}
	s.lines = append(s.lines, at)
	for at < len(content) {
		n := breakAt(content[at:])
		if n == 0 {
			at++
			continue
		}
		at += n
		s.lines = append(s.lines, at)
	}
	return s
}

// breakAt returns the length of the line break at the beginning of b, 0 if there is none.
func breakAt(b []byte) int {
	switch {
	case len(b) == 0 || b[0] != '\n' && b[0] != '\r' && b[0] < 0x80:
		return 0
	}
	for _, x := range breaks {
		if bytes.HasPrefix(b, x) {
			return len(x)
		}
	}
	return 0
}

// offset is where a line and column are. Columns count characters.
func (s *source) offset(line, column int) (int, bool) {
	if line < 1 || line > len(s.lines) || column < 1 {
		return 0, false
	}
	at := s.lines[line-1]
	for range column - 1 {
		_, n := utf8.DecodeRune(s.content[at:])
		if at += n; at > len(s.content) || n == 0 {
			return 0, false
		}
	}
	return at, true
}

// lost is said of a value that is not where the parser says. No input is known to lead there.
const lost = "its place in the file was not found"

// scalar returns where the text of a scalar begins and ends, quotes included, or why it cannot be replaced.
func (s *source) scalar(n *yaml.Node) (at, end int, why string) {
	at, ok := s.offset(n.Line, n.Column)
	if !ok {
		return 0, 0, lost
	}
	if n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!str" {
		return 0, 0, fmt.Sprintf("the value has the tag %s", n.Tag)
	}
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return 0, 0, "the value is a block of lines; write it behind its key"
	}
	at = s.properties(at)
	switch {
	case n.Style&yaml.SingleQuotedStyle != 0:
		end = s.quoted(at, '\'')
	case n.Style&yaml.DoubleQuotedStyle != 0:
		end = s.quoted(at, '"')
	case bytes.HasPrefix(s.content[at:], []byte(n.Value)):
		end = at + len(n.Value)
	default:
		return 0, 0, "the value goes over several lines; write it in one"
	}
	if end < 0 {
		return 0, 0, lost
	}
	return at, end, ""
}

// properties skips anchor and tag, which stand before a value.
func (s *source) properties(at int) int {
	for at < len(s.content) && (s.content[at] == '&' || s.content[at] == '!') {
		for at < len(s.content) && s.content[at] != ' ' && s.content[at] != '\t' && breakAt(s.content[at:]) == 0 {
			at++
		}
		for at < len(s.content) && (s.content[at] == ' ' || s.content[at] == '\t') {
			at++
		}
	}
	return at
}

// quoted returns where the quoted text that begins at at ends, -1 if there is none.
func (s *source) quoted(at int, quote byte) int {
	if at >= len(s.content) || s.content[at] != quote {
		return -1
	}
	for i := at + 1; i < len(s.content); i++ {
		switch c := s.content[i]; {
		case c == '\\' && quote == '"':
			i++
		case c == quote && quote == '\'' && i+1 < len(s.content) && s.content[i+1] == quote:
			i++
		case c == quote:
			return i + 1
		}
	}
	return -1
}

// errCheck says that the result does not mean what it should.
var errCheck = errors.New("the change would alter more than the marked values")

// check parses the result and compares it with the original, in which only the edited values may differ.
func check(before []*yaml.Node, after []byte, edits []edit) error {
	documents, err := parse(after)
	if err != nil {
		return fmt.Errorf("%w: %w", errCheck, err)
	}
	if len(documents) != len(before) {
		return errCheck
	}
	want := make(map[*yaml.Node]string, len(edits))
	for _, e := range edits {
		want[e.node] = e.value
	}
	for i := range before {
		if err := same(before[i], documents[i], want); err != nil {
			return err
		}
	}
	return nil
}

func same(a, b *yaml.Node, want map[*yaml.Node]string) error {
	value, edited := want[a]
	tag := a.Tag
	if !edited {
		value = a.Value
	} else {
		tag = "!!str"
	}
	if a.Kind != b.Kind || b.Value != value || b.Tag != tag || a.Anchor != b.Anchor || len(a.Content) != len(b.Content) || a.Line != b.Line ||
		a.HeadComment != b.HeadComment || a.LineComment != b.LineComment || a.FootComment != b.FootComment {
		return fmt.Errorf("%w: line %d", errCheck, a.Line)
	}
	for i := range a.Content {
		if err := same(a.Content[i], b.Content[i], want); err != nil {
			return err
		}
	}
	return nil
}
