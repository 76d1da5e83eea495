package lfs

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/format/gitattributes"
)

// AttributesFile is the name of the files that say which files are large.
const AttributesFile = ".gitattributes"

// MaxAttributes is the size in bytes beyond which such a file is refused.
const MaxAttributes = 1 << 20

// Attributes are what holds in one directory, from the files in it and above.
type Attributes struct {
	rules []gitattributes.MatchAttribute
}

// In returns what holds in a directory with this file; dir is its path in parts.
func (a Attributes) In(dir []string, text []byte) (Attributes, error) {
	rules, err := gitattributes.ReadAttributes(bytes.NewReader(text), dir, len(dir) == 0)
	if err != nil {
		return a, fmt.Errorf("'%s/%s' cannot be parsed: %w", strings.Join(dir, "/"), AttributesFile, err)
	}
	out := Attributes{rules: make([]gitattributes.MatchAttribute, 0, len(a.rules)+len(rules))}
	out.rules = append(append(out.rules, a.rules...), rules...)
	return out, nil
}

// Large tells whether the file at a path, in parts, is handled by Git LFS: the last rule that says something of its
// filter decides.
func (a Attributes) Large(file []string) bool {
	for i := len(a.rules) - 1; i >= 0; i-- {
		rule := a.rules[i]
		if rule.Pattern == nil || !rule.Pattern.Match(file) {
			continue
		}
		for j := len(rule.Attributes) - 1; j >= 0; j-- {
			if attr := rule.Attributes[j]; attr.Name() == "filter" {
				return attr.IsValueSet() && attr.Value() == "lfs"
			}
		}
	}
	return false
}

// Any tells whether some file may be large.
func (a Attributes) Any() bool { return len(a.rules) > 0 }
