package substitute

import (
	"slices"
	"unicode/utf8"
)

// element is one part of a shell pattern: any text, or one character that passes a test.
type element struct {
	star  bool
	match func(r rune) bool
}

// compileGlob reads a shell pattern: * any text, ? any character, [a-z] and [!a-z] a class, \ the next character as
// it is. A class that is never closed is plain text.
func compileGlob(pattern string) []element {
	runes := []rune(pattern)
	var elements []element
	for i := 0; i < len(runes); i++ {
		switch c := runes[i]; {
		case c == '*':
			elements = append(elements, element{star: true})
		case c == '?':
			elements = append(elements, element{match: func(rune) bool { return true }})
		case c == '\\' && i+1 < len(runes):
			i++
			elements = append(elements, literal(runes[i]))
		case c == '[':
			class, end, ok := compileClass(runes, i)
			if !ok {
				elements = append(elements, literal(c))
				continue
			}
			elements = append(elements, class)
			i = end
		default:
			elements = append(elements, literal(c))
		}
	}
	return elements
}

func literal(want rune) element {
	return element{match: func(r rune) bool { return r == want }}
}

// compileClass reads the class that begins at start, and returns where its bracket closes.
func compileClass(pattern []rune, start int) (element, int, bool) {
	i := start + 1
	negated := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if negated {
		i++
	}
	var ranges [][2]rune
	for first := true; i < len(pattern); first = false {
		if pattern[i] == ']' && !first {
			match := func(r rune) bool {
				in := slices.ContainsFunc(ranges, func(b [2]rune) bool { return b[0] <= r && r <= b[1] })
				return in != negated
			}
			return element{match: match}, i, true
		}
		bounds := [2]rune{pattern[i], pattern[i]}
		i++
		if i+1 < len(pattern) && pattern[i] == '-' && pattern[i+1] != ']' {
			bounds[1] = pattern[i+1]
			i += 2
		}
		ranges = append(ranges, bounds)
	}
	return element{}, 0, false
}

// characters splits text so that joining gives it back, also where it is not UTF-8.
func characters(text string) ([]rune, []int) {
	var runes []rune
	var starts []int
	for i, r := range text {
		runes, starts = append(runes, r), append(starts, i)
	}
	return runes, append(starts, len(text))
}

// trimPrefix cuts off the shortest or longest beginning that matches the pattern.
func trimPrefix(value, pattern string, longest bool) string {
	runes, starts := characters(value)
	return value[starts[matched(runes, compileGlob(pattern), longest)]:]
}

// trimSuffix cuts off the shortest or longest end that matches the pattern: the mirror image of trimPrefix.
func trimSuffix(value, pattern string, longest bool) string {
	runes, starts := characters(value)
	elements := compileGlob(pattern)
	slices.Reverse(runes)
	slices.Reverse(elements)
	return value[:starts[len(runes)-matched(runes, elements, longest)]]
}

// matched returns the length of the shortest or longest beginning of text that the whole pattern matches, 0 when none
// does. It follows all ways to match at once, so its cost is the product of the two lengths.
func matched(text []rune, pattern []element, longest bool) int {
	states := make([]bool, len(pattern)+1)
	next := make([]bool, len(pattern)+1)
	states[0] = true
	skipStars(states, pattern)
	cut := 0
	for i, r := range text {
		if states[len(pattern)] && !longest {
			break
		}
		clear(next)
		for s, on := range states[:len(pattern)] {
			switch {
			case !on:
			case pattern[s].star:
				next[s] = true
			case pattern[s].match(r):
				next[s+1] = true
			}
		}
		skipStars(next, pattern)
		states, next = next, states
		if states[len(pattern)] {
			cut = i + 1
		}
	}
	return cut
}

// skipStars lets every * match nothing.
func skipStars(states []bool, pattern []element) {
	for s, e := range pattern {
		if states[s] && e.star {
			states[s+1] = true
		}
	}
}

// globCost is what trimming costs, in steps.
func globCost(value, pattern string) int {
	return (1 + utf8.RuneCountInString(value)) * (1 + utf8.RuneCountInString(pattern))
}
