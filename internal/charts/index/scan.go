package index

import "bytes"

// scan follows text that runs over the ends of lines: quoted and plain scalars, block scalars, and flow style.
type scan struct {
	mode mode
	// parent is the column above which lines belong to the scalar, for blockMode and plainMode.
	parent int
	// opener is the column of the last key or dash whose value may be on the next line.
	opener int
	// depth of brackets, the quote that is open in them, and whether a plain scalar is, for flowMode.
	depth int
	quote byte
	plain bool
}

type mode int

const (
	noMode mode = iota
	doubleMode
	singleMode
	flowMode
	blockMode
	plainMode
)

// over tells whether something is open that only its own end can close.
func (s *scan) over() bool { return s.mode == doubleMode || s.mode == singleMode || s.mode == flowMode }

// continues tells whether the next line belongs to what is open.
func (s *scan) continues(indent int, blank bool) bool {
	switch s.mode {
	case noMode:
		return false
	case blockMode, plainMode:
		if blank || indent > s.parent {
			return true
		}
		s.mode = noMode
		return false
	}
	return true
}

// resume scans a line that belongs to what is open.
func (s *scan) resume(text []byte) error {
	switch s.mode {
	case doubleMode, singleMode:
		if _, closed := skipQuoted(text, s.mode == doubleMode); closed {
			s.mode = noMode
		}
	case flowMode:
		s.flow(text)
	}
	return nil
}

// structural scans a line that begins with a key, a dash or a value. text begins in the column.
func (s *scan) structural(text []byte, column int) error {
	for isDash(text) {
		s.opener = column
		rest := bytes.TrimLeft(text[1:], " ")
		if len(rest) == 0 || rest[0] == '#' {
			return nil
		}
		column += len(text) - len(rest)
		text = rest
	}
	if text[0] == '\t' || text[0] == '?' && blankOrEnd(text, 1) {
		return errOdd
	}
	if _, rest, ok := splitKey(text); ok {
		s.opener = column
		s.value(rest)
		return nil
	}
	if bytes.IndexByte([]byte("&!*"), text[0]) >= 0 && bytes.IndexByte(text, ':') >= 0 {
		return errOdd // may be a key
	}
	s.value(text)
	return nil
}

// value scans what begins on this line below opener.
func (s *scan) value(text []byte) {
	text = bytes.TrimLeft(text, " \t")
	for len(text) > 0 && (text[0] == '&' || text[0] == '!') { // anchors and tags
		i := bytes.IndexAny(text, " \t")
		if i < 0 {
			return
		}
		text = bytes.TrimLeft(text[i:], " \t")
	}
	if len(text) == 0 {
		return
	}
	s.parent = s.opener
	switch text[0] {
	case '#', '*':
	case '"', '\'':
		double := text[0] == '"'
		if _, closed := skipQuoted(text[1:], double); !closed {
			if s.mode = singleMode; double {
				s.mode = doubleMode
			}
		}
	case '[', '{':
		s.mode, s.depth, s.quote, s.plain = flowMode, 0, 0, false
		s.flow(text)
	case '|', '>':
		s.mode = blockMode
	default:
		s.mode = plainMode
	}
}

// flow scans a line in brackets.
func (s *scan) flow(text []byte) {
	for i := 0; i < len(text); i++ {
		ch := text[i]
		if s.quote != 0 {
			rest, closed := skipQuoted(text[i:], s.quote == '"')
			if !closed {
				return
			}
			s.quote, i = 0, len(text)-len(rest)-1
			continue
		}
		switch ch {
		case '[', '{':
			s.depth, s.plain = s.depth+1, false
		case ']', '}':
			s.plain = false
			if s.depth--; s.depth == 0 {
				s.mode = noMode
				return
			}
		case ',':
			s.plain = false
		case ':':
			if !s.plain || i+1 == len(text) || bytes.IndexByte([]byte(" \t,[]{}"), text[i+1]) >= 0 {
				s.plain = false
			}
		case ' ', '\t':
		case '#':
			if i == 0 || text[i-1] == ' ' || text[i-1] == '\t' {
				return // a comment
			}
			s.plain = true
		case '"', '\'':
			if !s.plain {
				s.quote = ch
			}
		default:
			s.plain = true
		}
	}
}

// skipQuoted returns what follows the end of a quoted scalar, whose begin is before text.
func skipQuoted(text []byte, double bool) (rest []byte, closed bool) {
	for i := 0; i < len(text); i++ {
		switch {
		case double && text[i] == '\\':
			i++
		case double && text[i] == '"':
			return text[i+1:], true
		case !double && text[i] == '\'':
			if i+1 == len(text) || text[i+1] != '\'' {
				return text[i+1:], true
			}
			i++
		}
	}
	return nil, false
}

// splitKey takes the key off a line of a block mapping; key is YAML, rest what follows the colon, without blanks.
func splitKey(text []byte) (key, rest []byte, ok bool) {
	switch text[0] {
	case '"', '\'':
		after, closed := skipQuoted(text[1:], text[0] == '"')
		if !closed {
			return nil, nil, false
		}
		key = text[:len(text)-len(after)]
		if after = bytes.TrimLeft(after, " \t"); len(after) == 0 || after[0] != ':' || !blankOrEnd(after, 1) {
			return nil, nil, false
		}
		return key, bytes.TrimLeft(after[1:], " \t"), true
	case '[', '{', '|', '>', '*', '&', '!', '#', '%', '@', '`', ',', ']', '}':
		return nil, nil, false
	}
	for i, ch := range text {
		if ch == ':' && blankOrEnd(text, i+1) {
			return bytes.TrimRight(text[:i], " \t"), bytes.TrimLeft(text[i+1:], " \t"), true
		}
		if ch == '#' && i > 0 && (text[i-1] == ' ' || text[i-1] == '\t') {
			break
		}
	}
	return nil, nil, false
}
