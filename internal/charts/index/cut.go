package index

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// errOdd says that an index in YAML is written in a way that cannot be cut; it may be valid nevertheless.
var errOdd = errors.New("unusual YAML")

// sink takes the parts of an index, in their order. The texts are only valid during the call.
type sink interface {
	// field is a field beside the entries, with its key, as a document of its own.
	field(text []byte) error
	// chart begins the versions of a chart; key is YAML for its name.
	chart(key []byte) error
	// entry is one version of the chart that began last.
	entry(text []byte) error
}

// cutter cuts an index in YAML into its parts, line by line. Structure is seen at three places only: keys in the first
// column, the names of charts below `entries`, and the dashes below a name. All other lines belong to the part that is
// open; they are scanned for what runs over the end of a line (scan.go), as such text may look like structure.
type cutter struct {
	in   *bufio.Reader
	out  sink
	line int
	// unended says that the last line has no end, which tells in a block of text.
	unended bool

	open    scan
	part    []byte // of the field or entry that is open
	kind    partKind
	names   int // column of the names of charts, -1 while unknown
	dashes  int // column of the dashes of the chart that is open, -1 while unknown
	begun   bool
	entries bool // below `entries`
	chart   bool // below the name of a chart
}

type partKind int

const (
	noPart partKind = iota
	fieldPart
	entryPart
)

// cut reads YAML to its end. An error is errOdd if somebody else should try.
func cut(r io.Reader, out sink) error {
	c := &cutter{in: bufio.NewReaderSize(r, 64<<10), out: out, names: -1, dashes: -1}
	for {
		text, err := c.next()
		if errors.Is(err, io.EOF) {
			if c.open.over() {
				return fmt.Errorf("%w: text that begins before line %d has no end", ErrSyntax, c.line)
			}
			return c.flush()
		}
		if err != nil {
			return err
		}
		done, err := c.take(text)
		if done {
			return c.flush()
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", c.line, err)
		}
	}
}

// next reads a line without its end.
func (c *cutter) next() ([]byte, error) {
	c.line++
	var long []byte
	for {
		text, err := c.in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			if long = append(long, text...); len(long) > maxEntry {
				return nil, fmt.Errorf("%w: line %d is longer than %d bytes", ErrLimit, c.line, maxEntry)
			}
			continue
		}
		if errors.Is(err, io.EOF) && len(text)+len(long) > 0 {
			err, c.unended = nil, true
		}
		if long != nil {
			text = append(long, text...)
		}
		if c.line == 1 {
			text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
		}
		text = bytes.TrimSuffix(text, []byte("\n"))
		return bytes.TrimSuffix(text, []byte("\r")), err
	}
}

// take takes a line; done says that the document ends before it.
func (c *cutter) take(text []byte) (done bool, err error) {
	if bytes.ContainsRune(text, '\r') {
		return false, errOdd // ends a line as well
	}
	content := bytes.TrimLeft(text, " ")
	indent := len(text) - len(content)
	blank := len(bytes.TrimRight(content, " \t")) == 0
	if c.open.continues(indent, blank) {
		return false, c.add(text, content)
	}
	switch {
	case blank || content[0] == '#':
		return false, c.keep(text)
	case content[0] == '\t':
		return false, errOdd
	case indent == 0:
		if done, ok := c.marker(content); ok {
			return done, nil
		}
		return false, c.top(text)
	case !c.begun:
		return false, errOdd // a document that is indented as a whole
	case c.entries && (indent <= c.names || c.names < 0):
		return false, c.name(text, content, indent)
	case c.chart && (indent <= c.dashes || c.dashes < 0):
		return false, c.dash(text, content, indent)
	}
	return false, c.deeper(text, content, indent)
}

// marker handles what separates documents; ok says that it is one.
func (c *cutter) marker(content []byte) (done, ok bool) {
	end := bytes.HasPrefix(content, []byte("...")) && blankOrEnd(content, 3)
	start := bytes.HasPrefix(content, []byte("---")) && blankOrEnd(content, 3)
	switch {
	case end || start && c.begun:
		return true, true
	case start && len(bytes.TrimLeft(content[3:], " ")) == 0:
		return false, true
	}
	return false, false
}

// top takes a line that begins in the first column.
func (c *cutter) top(text []byte) error {
	if err := c.flush(); err != nil {
		return err
	}
	key, rest, ok := splitKey(text)
	if !ok {
		return errOdd
	}
	c.begun, c.entries, c.chart = true, false, false
	if string(key) != "entries" {
		c.kind = fieldPart
		return c.begin(text, text, 0)
	}
	if c.names >= 0 {
		return fmt.Errorf("%w: 'entries' is there twice", ErrSyntax)
	}
	c.entries = true
	return empty(rest)
}

// empty accepts what may follow a key with its value on the next lines, or with nothing in it.
func empty(rest []byte) error {
	switch string(bytes.TrimRight(rest, " \t")) {
	case "", "{}", "[]", "null", "~":
		return nil
	}
	if rest[0] == '#' {
		return nil
	}
	return errOdd
}

// name takes the name of a chart.
func (c *cutter) name(text, content []byte, indent int) error {
	if c.names >= 0 && indent != c.names {
		return errOdd
	}
	if isDash(content) {
		if c.chart && (c.dashes < 0 || c.dashes == indent) {
			return c.dash(text, content, indent)
		}
		return errOdd
	}
	if err := c.flush(); err != nil {
		return err
	}
	key, rest, ok := splitKey(content)
	if !ok {
		return errOdd
	}
	if err := empty(rest); err != nil {
		return err
	}
	c.names, c.chart, c.dashes, c.kind = indent, true, -1, noPart
	return c.out.chart(key)
}

// dash takes the first line of an entry.
func (c *cutter) dash(text, content []byte, indent int) error {
	if c.dashes >= 0 && indent != c.dashes || !isDash(content) {
		return errOdd
	}
	if err := c.flush(); err != nil {
		return err
	}
	c.dashes, c.kind = indent, entryPart
	first := bytes.Clone(text)
	first[indent] = ' '
	inner := bytes.TrimLeft(first, " ")
	return c.begin(first, inner, len(first)-len(inner))
}

// deeper takes a line of the part that is open.
func (c *cutter) deeper(text, content []byte, indent int) error {
	if c.kind == noPart {
		return errOdd
	}
	if err := c.open.structural(content, indent); err != nil {
		return err
	}
	return c.keep(text)
}

// begin opens a part with its first line.
func (c *cutter) begin(text, content []byte, indent int) error {
	if len(content) > 0 && content[0] != '#' {
		if err := c.open.structural(content, indent); err != nil {
			return err
		}
	}
	return c.keep(text)
}

// add takes a line that continues what began on an earlier one.
func (c *cutter) add(text, content []byte) error {
	if err := c.open.resume(content); err != nil {
		return err
	}
	return c.keep(text)
}

// keep appends a line to the part that is open.
func (c *cutter) keep(text []byte) error {
	if c.kind == noPart {
		return nil
	}
	if len(c.part)+len(text) > maxEntry {
		return fmt.Errorf("%w: an entry is larger than %d bytes", ErrLimit, maxEntry)
	}
	c.part = append(c.part, text...)
	if !c.unended {
		c.part = append(c.part, '\n')
	}
	return nil
}

// flush hands over the part that is open.
func (c *cutter) flush() error {
	text, kind := c.part, c.kind
	c.part, c.kind = c.part[:0], noPart
	switch kind {
	case fieldPart:
		return c.out.field(text)
	case entryPart:
		return c.out.entry(text)
	}
	return nil
}

func isDash(content []byte) bool { return content[0] == '-' && blankOrEnd(content, 1) }

// blankOrEnd tells whether a token of n bytes ends there.
func blankOrEnd(content []byte, n int) bool {
	return len(content) == n || content[n] == ' ' || content[n] == '\t'
}
