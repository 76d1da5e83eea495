// Package substitute replaces ${…} expressions in text with the values of variables, the way that spec.postBuild and
// "flux envsubst" do: a subset of what a shell does in a here-document.
//
// # Syntax
//
// Only "${" begins an expression; "$name" is plain text, and "$${" stands for a literal "${".
//
//	${v}                              the value
//	${#v}                             its length in bytes
//	${v^} ${v^^} ${v,} ${v,,}         first or all letters in upper or lower case
//	${v:pos} ${v:pos:len}             a part, in bytes; a negative pos counts from the end
//	${v#p} ${v##p} ${v%p} ${v%%p}     without the shortest or longest prefix or suffix that matches the glob p
//	${v/a/b} ${v//a/b}                a replaced by b, once or everywhere; a is plain text
//	${v/#a/b} ${v/%a/b}               the same only at the start, or at the end
//	${v-d} ${v:-d} ${v=d} ${v:=d}     d when v is unset or empty; so are +, :+, ? and :?
//
// Arguments may hold expressions themselves, to a depth of [MaxDepth]. An argument is only evaluated when it is
// needed. Values are not expanded again.
package substitute

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxDepth is how deep expressions may be nested in each other's arguments.
const MaxDepth = 32

// MaxSize is how large the result may grow, in bytes.
const MaxSize = 64 << 20

// maxWork bounds what all operations of one text may cost together, in steps of about a nanosecond.
const maxWork = 1 << 27

// Lookup returns the value of a variable and whether it is set.
type Lookup func(name string) (string, bool)

// ErrSyntax is wrapped by the error for an expression that cannot be read.
var ErrSyntax = errors.New("bad substitution")

// UnsetError says that strict mode met a variable that is not set.
type UnsetError struct{ Name string }

func (e *UnsetError) Error() string {
	return fmt.Sprintf("variable not set (strict mode): %q", e.Name)
}

// Expand replaces the expressions in text. In strict mode a variable that is not set is an error, unless the
// expression gives a default; otherwise it is empty.
func Expand(text string, lookup Lookup, strict bool) (string, error) {
	p := &parser{text: text}
	nodes, err := p.parse(0, 0)
	if err != nil {
		return "", err
	}
	e := &evaluator{lookup: lookup, strict: strict}
	return e.join(nodes)
}

// Expanded reports whether text holds anything that Expand would change or refuse.
func Expanded(text string) bool { return strings.Contains(text, "${") }

// evaluator computes the text of parsed nodes.
type evaluator struct {
	lookup Lookup
	strict bool
	size   int
	work   int
}

func (e *evaluator) join(nodes []node) (string, error) {
	var out strings.Builder
	for _, n := range nodes {
		text, err := e.node(n)
		if err != nil {
			return "", err
		}
		if e.size += len(text); e.size > MaxSize {
			return "", fmt.Errorf("the result has more than %d bytes", MaxSize)
		}
		out.WriteString(text)
	}
	return out.String(), nil
}

func (e *evaluator) node(n node) (string, error) {
	if n.name == "" {
		return n.literal, nil
	}
	value, set := e.lookup(n.name)
	if n.op == opDefault {
		if value != "" {
			return value, nil
		}
		return e.join(n.args[0])
	}
	if !set && e.strict {
		return "", &UnsetError{Name: n.name}
	}
	args := make([]string, len(n.args))
	for i, arg := range n.args {
		var err error
		if args[i], err = e.join(arg); err != nil {
			return "", err
		}
	}
	if e.work += cost(n.op, value, args); e.work > maxWork {
		return "", errors.New("the expressions take too long to evaluate")
	}
	return apply(n.op, value, args), nil
}

// cost estimates the steps of one operation.
func cost(op operator, value string, args []string) int {
	switch op {
	case opTrimPrefix, opTrimPrefixLong, opTrimSuffix, opTrimSuffixLong:
		return globCost(value, args[0])
	default:
		return 1 + len(value)
	}
}

// apply computes one operation.
func apply(op operator, value string, args []string) string {
	switch op {
	case opLength:
		return strconv.Itoa(len(value))
	case opUpperFirst:
		return first(value, unicode.ToUpper)
	case opUpper:
		return strings.ToUpper(value)
	case opLowerFirst:
		return first(value, unicode.ToLower)
	case opLower:
		return strings.ToLower(value)
	case opSlice:
		return slice(value, args)
	case opTrimPrefix:
		return trimPrefix(value, args[0], false)
	case opTrimPrefixLong:
		return trimPrefix(value, args[0], true)
	case opTrimSuffix:
		return trimSuffix(value, args[0], false)
	case opTrimSuffixLong:
		return trimSuffix(value, args[0], true)
	case opReplace, opReplaceAll, opReplacePrefix, opReplaceSuffix:
		return replace(op, value, args)
	}
	return value
}

func first(value string, convert func(rune) rune) string {
	r, size := utf8.DecodeRuneInString(value)
	if size == 0 || r == utf8.RuneError {
		return value
	}
	return string(convert(r)) + value[size:]
}

// slice cuts a part out of a value. A position or length that is not a number leaves the value as it is.
func slice(value string, args []string) string {
	from, err := strconv.Atoi(strings.TrimSpace(args[0]))
	if err != nil {
		return value
	}
	if from < 0 {
		from = max(0, len(value)+from)
	}
	from = min(from, len(value))
	if len(args) == 1 {
		return value[from:]
	}
	length, err := strconv.Atoi(strings.TrimSpace(args[1]))
	if err != nil {
		return value
	}
	to := len(value) + length // a negative length counts from the end, as in a shell
	if length >= 0 {
		to = from + min(length, len(value)-from)
	}
	return value[from:max(from, to)]
}

func replace(op operator, value string, args []string) string {
	from, to := args[0], ""
	if len(args) > 1 {
		to = args[1]
	}
	if from == "" {
		return value
	}
	switch op {
	case opReplace:
		return strings.Replace(value, from, to, 1)
	case opReplacePrefix:
		if rest, ok := strings.CutPrefix(value, from); ok {
			return to + rest
		}
		return value
	case opReplaceSuffix:
		if rest, ok := strings.CutSuffix(value, from); ok {
			return rest + to
		}
		return value
	default:
		return strings.ReplaceAll(value, from, to)
	}
}
