package artifactgenerator

import (
	"fmt"
	"path"
	"strings"
)

// isGlob tells whether a path has characters of a glob.
func isGlob(pattern string) bool { return strings.ContainsAny(pattern, "*?[]") }

// literalPrefix is the directory above the first element with a glob character, "" for the root.
func literalPrefix(pattern string) string {
	var out []string
	for _, part := range strings.Split(pattern, "/") {
		if isGlob(part) {
			break
		}
		out = append(out, part)
	}
	return strings.Join(out, "/")
}

// level matches a path element by element; ** counts as *.
func level(pattern, name string) bool {
	want, have := strings.Split(pattern, "/"), strings.Split(name, "/")
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if !element(strings.ReplaceAll(want[i], "**", "*"), have[i]) {
			return false
		}
	}
	return true
}

func element(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// deep matches with ** for any number of elements and {a,b} for alternatives.
func deep(pattern, name string) bool {
	for _, p := range alternatives(pattern) {
		if deepParts(strings.Split(p, "/"), strings.Split(name, "/")) {
			return true
		}
	}
	return false
}

// deepParts fills a table, so that no pattern takes more than its length times that of the name.
func deepParts(pattern, name []string) bool {
	reached := make([]bool, len(name)+1) // with how many elements of the name the pattern so far may end
	reached[0] = true
	for _, p := range pattern {
		next := make([]bool, len(name)+1)
		for i := range reached {
			switch {
			case p == "**":
				next[i] = reached[i] || i > 0 && next[i-1]
			case i > 0 && reached[i-1]:
				next[i] = element(p, name[i-1])
			}
		}
		reached = next
	}
	return reached[len(name)]
}

// maxAlternatives bounds what {a,b}{c,d}… comes to.
const maxAlternatives = 256

func alternatives(pattern string) []string {
	out := []string{pattern}
	for i := 0; i < len(out) && len(out) <= maxAlternatives; {
		before, rest, found := strings.Cut(out[i], "{")
		inner, after, closed := strings.Cut(rest, "}")
		if !found || !closed {
			i++
			continue
		}
		var more []string
		for _, one := range strings.Split(inner, ",") {
			more = append(more, before+one+after)
		}
		out = append(out[:i], append(more, out[i+1:]...)...)
	}
	return out
}

// excluder says which paths of a source a copy leaves out.
type excluder struct {
	patterns []string
	prefix   string // the non-glob prefix of from
}

func newExcluder(patterns []string, prefix string) (*excluder, error) {
	for _, p := range patterns {
		for _, part := range strings.Split(p, "/") {
			for _, one := range alternatives(part) {
				if _, err := path.Match(one, ""); err != nil {
					return nil, fmt.Errorf("invalid exclude pattern '%s': %w", p, err)
				}
			}
		}
	}
	return &excluder{patterns: patterns, prefix: prefix}, nil
}

// excluded tells whether a path, or a directory above it up to the prefix, is left out.
func (e *excluder) excluded(name string) bool {
	if len(e.patterns) == 0 {
		return false
	}
	parts := strings.Split(name, "/")
	for i := range parts {
		if e.one(strings.Join(parts[:i+1], "/")) {
			return true
		}
	}
	return false
}

func (e *excluder) one(name string) bool {
	relative := name
	if e.prefix != "" {
		relative = strings.TrimPrefix(name, e.prefix+"/")
	}
	for _, p := range e.patterns {
		p = strings.TrimSuffix(p, "/")
		switch {
		case !strings.Contains(p, "/") && deep(p, path.Base(name)):
			return true
		case deep(p, name), deep(p, relative):
			return true
		}
	}
	return false
}
