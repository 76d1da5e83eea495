package build

import (
	"fmt"
	"regexp"
	"strings"
)

// incomplete is how kustomize prints an object without a kind or a name: as a Go struct.
var incomplete = regexp.MustCompile(`missing (kind|metadata\.name) in object \{\{(\S*) (\S*)\} \{\{(\S*) (\S*)\} map\[.*?\] map\[.*?\]\}\}`)

// reworded is an error whose text a person can read.
type reworded struct {
	text string
	err  error
}

func (e *reworded) Error() string { return e.text }
func (e *reworded) Unwrap() error { return e.err }

// readable rewords what kustomize says about objects that are not whole.
func readable(err error) error {
	text := err.Error()
	better := incomplete.ReplaceAllStringFunc(text, func(match string) string {
		m := incomplete.FindStringSubmatch(match)
		var has []string
		for i, field := range []string{"apiVersion", "kind", "metadata.name", "metadata.namespace"} {
			if value := m[i+2]; value != "" {
				has = append(has, fmt.Sprintf("%s '%s'", field, value))
			}
		}
		object := "object"
		if len(has) > 0 {
			object += " with " + strings.Join(has, ", ")
		}
		return fmt.Sprintf("missing %s in %s; add it, or leave the file out of the build", m[1], object)
	})
	if better == text {
		return err
	}
	return &reworded{text: better, err: err}
}
