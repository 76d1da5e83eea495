package setters

import (
	"bytes"
	"fmt"
	"strings"
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

// replace returns the edit that gives a scalar another value, or why there is none.
func (s *source) replace(n *yaml.Node, value string) (e edit, why string) {
	at, ok := s.offset(n.Line, n.Column)
	if !ok {
		return e, lost
	}
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 && strings.TrimSpace(n.Value) == "" {
		return e, `the block of lines is empty; write "" in its place`
	}
	if n.Style&yaml.TaggedStyle != 0 && n.Tag != "!!str" {
		return e, fmt.Sprintf("the value has the tag %s", n.Tag)
	}
	e = edit{node: n, at: s.properties(at), text: encode(value, n.Style), value: value}
	switch {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		s.block(&e)
	case n.Style&yaml.SingleQuotedStyle != 0:
		e.end = s.quoted(e.at, '\'')
	case n.Style&yaml.DoubleQuotedStyle != 0:
		e.end = s.quoted(e.at, '"')
	default:
		e.end = s.plain(e.at, n.Value)
	}
	if e.end < e.at {
		return e, lost
	}
	e.lines = s.breaks(e.at, e.end) > 0
	e.fewer = s.breaks(e.at, e.end) - newSource([]byte(e.text)).last()
	return e, ""
}

// last is how many line breaks there are.
func (s *source) last() int { return len(s.lines) - 1 }

// breaks counts the line breaks between two places.
func (s *source) breaks(at, end int) (n int) {
	for at < end {
		length := breakAt(s.content[at:])
		if length > 0 {
			n++
		}
		at += max(length, 1)
	}
	return n
}

// plain returns where a value without quotes ends, which may go over several lines: one break between them is a space,
// of more the first is nothing. It is -1 if the value is not there.
func (s *source) plain(at int, value string) int {
	for value != "" {
		end := at
		for end < len(s.content) && isSpace(s.content[end:]) > 0 {
			end += isSpace(s.content[end:])
		}
		between := string(s.content[at:end])
		switch n := s.breaks(at, end); {
		case n == 1:
			between = " "
		case n > 1:
			between = strings.Repeat("\n", n-1)
		}
		if end == at {
			_, n := utf8.DecodeRune(s.content[at:])
			end, between = at+n, string(s.content[at:at+n])
		}
		rest, ok := strings.CutPrefix(value, between)
		if !ok || end == at {
			return -1
		}
		at, value = end, rest
	}
	return at
}

// isSpace returns the length of the blank or line break at the beginning of b, 0 if there is none.
func isSpace(b []byte) int {
	if len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		return 1
	}
	return breakAt(b)
}

// block replaces the lines of a block scalar by one. What stands behind its sign, which is the marker, stays, and so do
// sign and indentation; a line end that the sign added to the value goes, because images have none.
func (s *source) block(e *edit) {
	header := e.at
	for header < len(s.content) && bytes.IndexByte([]byte("|>+-0123456789"), s.content[header]) >= 0 {
		header++
	}
	line := header
	for line < len(s.content) && breakAt(s.content[line:]) == 0 {
		line++
	}
	indent, first := -1, 0
	e.end = -1
	for at := line; at < len(s.content); {
		at += breakAt(s.content[at:])
		text := at
		for text < len(s.content) && s.content[text] == ' ' {
			text++
		}
		end := text
		for end < len(s.content) && breakAt(s.content[end:]) == 0 {
			end++
		}
		blank := len(bytes.TrimSpace(s.content[text:end])) == 0
		if indent < 0 && !blank {
			indent, first = text-at, at
		}
		if !blank && text-at < indent || end == at && end == len(s.content) {
			break
		}
		if !blank {
			e.end = end
		}
		at = end
	}
	switch {
	case e.end < 0:
	case e.value == "":
		e.text = `""` + string(s.content[header:line])
	default:
		e.text = string(s.content[e.at:e.at+1]) + "-" + string(s.content[header:first+indent]) + e.value
	}
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
