package substitute

import (
	"fmt"
	"strings"
)

// node is literal text, or an expression when it has a name.
type node struct {
	literal string
	name    string
	op      operator
	args    [][]node
}

// operator is what an expression does with the value.
type operator int

const (
	opNone operator = iota
	opLength
	opUpperFirst
	opUpper
	opLowerFirst
	opLower
	opSlice
	opTrimPrefix
	opTrimPrefixLong
	opTrimSuffix
	opTrimSuffixLong
	opReplace
	opReplaceAll
	opReplacePrefix
	opReplaceSuffix
	opDefault
)

// form is how an operator is written: its sign, how many arguments follow at most, and what separates them.
type form struct {
	sign      string
	op        operator
	args      int
	separator byte
}

// forms are tried in order, so that a longer sign goes before its beginning.
var forms = []form{
	{sign: "^^", op: opUpper}, {sign: "^", op: opUpperFirst},
	{sign: ",,", op: opLower}, {sign: ",", op: opLowerFirst},
	{sign: "##", op: opTrimPrefixLong, args: 1}, {sign: "#", op: opTrimPrefix, args: 1},
	{sign: "%%", op: opTrimSuffixLong, args: 1}, {sign: "%", op: opTrimSuffix, args: 1},
	{sign: "//", op: opReplaceAll, args: 2, separator: '/'},
	{sign: "/#", op: opReplacePrefix, args: 2, separator: '/'},
	{sign: "/%", op: opReplaceSuffix, args: 2, separator: '/'},
	{sign: "/", op: opReplace, args: 2, separator: '/'},
	{sign: ":-", op: opDefault, args: 1}, {sign: "-", op: opDefault, args: 1},
	{sign: ":=", op: opDefault, args: 1}, {sign: "=", op: opDefault, args: 1},
	{sign: ":+", op: opDefault, args: 1}, {sign: "+", op: opDefault, args: 1},
	{sign: ":?", op: opDefault, args: 1}, {sign: "?", op: opDefault, args: 1},
	{sign: ":", op: opSlice, args: 2, separator: ':'},
}

// parser reads text from left to right.
type parser struct {
	text string
	at   int
}

// parse reads nodes up to the end of the text or, within an argument, up to "}" or the separator, which it leaves.
func (p *parser) parse(depth int, separator byte) ([]node, error) {
	var nodes []node
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			nodes = append(nodes, node{literal: literal.String()})
			literal.Reset()
		}
	}
	for p.at < len(p.text) {
		c := p.text[p.at]
		switch {
		case depth > 0 && (c == '}' || separator != 0 && c == separator):
			flush()
			return nodes, nil
		case strings.HasPrefix(p.text[p.at:], "$${"):
			literal.WriteString("${")
			p.at += len("$${")
		case strings.HasPrefix(p.text[p.at:], "${"):
			flush()
			n, err := p.expression(depth + 1)
			if err != nil {
				return nil, err
			}
			nodes = append(nodes, n)
		default:
			literal.WriteByte(c)
			p.at++
		}
	}
	flush()
	return nodes, nil
}

// expression reads from "${" to its "}".
func (p *parser) expression(depth int) (node, error) {
	start := p.at
	if depth > MaxDepth {
		return node{}, p.fail(start, "nested too deep")
	}
	p.at += len("${")
	if n, ok := p.length(); ok {
		return n, nil
	}
	n := node{name: p.name()}
	if n.name == "" {
		return node{}, p.fail(start, "a variable name must follow '${'")
	}
	f, ok := p.form()
	n.op = f.op
	for i := 0; ok && i < f.args; i++ {
		separator := f.separator
		if i == f.args-1 {
			separator = 0
		}
		arg, err := p.parse(depth, separator)
		if err != nil {
			return node{}, err
		}
		n.args = append(n.args, arg)
		if separator == 0 || p.at >= len(p.text) || p.text[p.at] != separator {
			break
		}
		p.at++
	}
	if p.at >= len(p.text) {
		return node{}, p.fail(start, "missing closing brace")
	}
	if p.text[p.at] != '}' {
		return node{}, p.fail(start, "no such operator")
	}
	p.at++
	return n, nil
}

// length reads "#name}", if that is what follows.
func (p *parser) length() (node, bool) {
	if p.at >= len(p.text) || p.text[p.at] != '#' {
		return node{}, false
	}
	at := p.at
	p.at++
	name := p.name()
	if name == "" || p.at >= len(p.text) || p.text[p.at] != '}' {
		p.at = at
		return node{}, false
	}
	p.at++
	return node{name: name, op: opLength}, true
}

func (p *parser) name() string {
	start := p.at
	for p.at < len(p.text) && isNameByte(p.text[p.at]) {
		p.at++
	}
	return p.text[start:p.at]
}

func isNameByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func (p *parser) form() (form, bool) {
	for _, f := range forms {
		if strings.HasPrefix(p.text[p.at:], f.sign) {
			p.at += len(f.sign)
			return f, true
		}
	}
	return form{}, false
}

// fail names the expression and where it is.
func (p *parser) fail(start int, why string) error {
	expression := p.text[start:]
	if end := strings.IndexAny(expression, "}\n"); end >= 0 {
		expression = expression[:end+1]
	}
	if len(expression) > 60 {
		expression = expression[:60] + "…"
	}
	line := 1 + strings.Count(p.text[:start], "\n")
	return fmt.Errorf("%w: line %d: %q: %s; write '$${' for a literal '${'", ErrSyntax, line, strings.TrimSpace(expression), why)
}
