package build

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Limits bound one build. The zero value of a field means its default.
type Limits struct {
	// FileSize is the largest file that is read, in bytes. Default 16 MiB.
	FileSize int64
	// TotalSize is the sum of all bytes read, repeated reads included. Default 256 MiB.
	TotalSize int64
	// Reads is the number of files, directories and links looked at, misses and repeats included. Default 200,000.
	Reads int
	// OutputSize is the size of all rendered objects, in bytes of YAML. Default 256 MiB.
	OutputSize int64
	// Nodes is how many YAML nodes one file may have once its aliases are expanded. Default 2,000,000.
	Nodes int
	// Depth is how deep the nodes of one document may be nested. Default 256.
	Depth int
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.FileSize, 16<<20)
	setDefault(&l.TotalSize, 256<<20)
	setDefault(&l.Reads, 200_000)
	setDefault(&l.OutputSize, 256<<20)
	setDefault(&l.Nodes, 2_000_000)
	setDefault(&l.Depth, 256)
	return l
}

func setDefault[T int | int64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// checkYAML refuses a document whose aliases multiply or whose nesting is absurd. Files without an alias and with
// few brackets or little indentation cannot be either and are not parsed for it.
func (l Limits) checkYAML(content []byte) error {
	if !l.suspicious(content) {
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	for {
		var doc yaml.Node
		if err := decoder.Decode(&doc); err != nil {
			return nil // the end, or an error that kustomize reports better
		}
		counter := nodeCounter{limits: l, sizes: map[*yaml.Node]int{}}
		if _, err := counter.count(&doc, 0); err != nil {
			return err
		}
	}
}

// suspicious is a cheap test that no file with an alias passes. Nesting is only estimated here: the YAML parser has
// a limit of its own that keeps it from harm, and rendered objects are measured exactly.
func (l Limits) suspicious(content []byte) bool {
	if bytes.IndexByte(content, '*') >= 0 && bytes.IndexByte(content, '&') >= 0 {
		return true
	}
	level, indent, inIndent := 0, 0, true
	for _, c := range content {
		switch c {
		case '\n':
			indent, inIndent = 0, true
			continue
		case '[', '{':
			level++
		case ']', '}':
			level--
		}
		if inIndent = inIndent && (c == ' ' || c == '-'); inIndent {
			indent++
		}
		if level > l.Depth || indent > l.Depth {
			return true
		}
	}
	return false
}

// nodeCounter counts the nodes of a document as if every alias were written out.
type nodeCounter struct {
	limits Limits
	sizes  map[*yaml.Node]int
}

func (c *nodeCounter) count(node *yaml.Node, depth int) (int, error) {
	if depth > c.limits.Depth {
		return 0, fmt.Errorf("line %d: nested deeper than %d levels", node.Line, c.limits.Depth)
	}
	if size, seen := c.sizes[node]; seen {
		return size, nil
	}
	if node.Kind == yaml.AliasNode {
		return c.count(node.Alias, depth+1)
	}
	size := 1
	for _, child := range node.Content {
		n, err := c.count(child, depth+1)
		if err != nil {
			return 0, err
		}
		if size += n; size > c.limits.Nodes {
			return 0, fmt.Errorf("line %d: more than %d nodes once its aliases are expanded", node.Line, c.limits.Nodes)
		}
	}
	c.sizes[node] = size
	return size, nil
}
