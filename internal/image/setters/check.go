package setters

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// errCheck says that the result does not mean what it should.
var errCheck = errors.New("the change would alter more than the marked values")

// check parses the result and compares it with the original, in which only the edited values may differ.
func check(before []*yaml.Node, after []byte, edits []edit) error {
	documents, err := parse(after)
	if err != nil {
		return fmt.Errorf("%w: %w", errCheck, err)
	}
	if len(documents) != len(before) {
		return errCheck
	}
	c := comparison{want: make(map[*yaml.Node]string, len(edits)), edits: edits}
	for _, e := range edits {
		c.want[e.node] = e.value
		c.loose = c.loose || e.lines
	}
	for i := range before {
		if err := c.same(before[i], documents[i]); err != nil {
			return err
		}
	}
	if c.loose && !slices.Equal(comments(before), comments(documents)) {
		return errCheck
	}
	return nil
}

// comments are the words of all comments, sorted.
func comments(nodes []*yaml.Node) (out []string) {
	var visit func([]*yaml.Node)
	visit = func(nodes []*yaml.Node) {
		for _, n := range nodes {
			for _, c := range []string{n.HeadComment, n.LineComment, n.FootComment} {
				out = append(out, strings.Fields(c)...)
			}
			visit(n.Content)
		}
	}
	visit(nodes)
	slices.Sort(out)
	return out
}

// comparison of a file before and after its edits.
type comparison struct {
	want  map[*yaml.Node]string
	edits []edit
	// loose lets comments belong to another node: next to a value of several lines the parser decides otherwise.
	loose bool
}

// moved is the line of what was at a line before.
func (c comparison) moved(line int) int {
	now := line
	for _, e := range c.edits {
		if e.node.Line < line {
			now -= e.fewer
		}
	}
	return now
}

func (c comparison) same(a, b *yaml.Node) error {
	value, edited := c.want[a]
	tag := a.Tag
	if !edited {
		value = a.Value
	} else {
		tag = "!!str"
	}
	if a.Kind != b.Kind || b.Value != value || b.Tag != tag || a.Anchor != b.Anchor || len(a.Content) != len(b.Content) || c.moved(a.Line) != b.Line ||
		!c.loose && (a.HeadComment != b.HeadComment || a.LineComment != b.LineComment || a.FootComment != b.FootComment) {
		return fmt.Errorf("%w: line %d", errCheck, a.Line)
	}
	for i := range a.Content {
		if err := c.same(a.Content[i], b.Content[i]); err != nil {
			return err
		}
	}
	return nil
}
