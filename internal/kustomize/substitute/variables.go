package substitute

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// namePattern is what names of variables must match.
const namePattern = `^[_[:alpha:]][_[:alpha:][:digit:]]*$`

var nameExpression = regexp.MustCompile(namePattern)

// Variables are names and values to substitute.
type Variables map[string]string

// Merge lays maps over each other, later ones over earlier ones, and removes line breaks from the values.
func Merge(layers ...map[string]string) Variables {
	merged := Variables{}
	for _, layer := range layers {
		for name, value := range layer {
			merged[name] = strings.ReplaceAll(value, "\n", "")
		}
	}
	return merged
}

// Lookup returns the value of a variable and whether it is set.
func (v Variables) Lookup(name string) (string, bool) {
	value, set := v[name]
	return value, set
}

// Validate refuses names that no expression can refer to. It names the first in lexical order.
func (v Variables) Validate() error {
	names := make([]string, 0, len(v))
	for name := range v {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !nameExpression.MatchString(name) {
			return fmt.Errorf("'%s' var name is invalid, must match '%s'; rename it", name, namePattern)
		}
	}
	return nil
}
