package artifactgenerator

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// value is a part of a YAML file: a map, a list, or a scalar as it was written. Scalars stay text, because what they mean
// is for their readers to say: `no` is a word to some of them and false to others, and a date a text to Kubernetes.
type value struct {
	fields map[string]field // not nil for a map
	items  []*value
	scalar *yaml.Node // nil for a map or a list
}

type field struct {
	key   *yaml.Node
	value *value
}

// Limits of what a file may come to when its aliases are followed.
const (
	maxValues = 1 << 20
	maxNested = 200
)

// reading counts what is read.
type reading struct{ left int }

// value reads a node without comments, anchors and aliases.
func (r *reading) value(n *yaml.Node, depth int) (*value, error) {
	if r.left--; r.left < 0 || depth > maxNested {
		return nil, errors.New("its aliases come to too much, or it is nested too deep")
	}
	switch n.Kind {
	case yaml.DocumentNode:
		return r.value(n.Content[0], depth+1)
	case yaml.AliasNode:
		return r.value(n.Alias, depth+1)
	case yaml.MappingNode:
		return r.fields(n, depth)
	case yaml.SequenceNode:
		v := &value{}
		for _, item := range n.Content {
			one, err := r.value(item, depth+1)
			if err != nil {
				return nil, err
			}
			v.items = append(v.items, one)
		}
		return v, nil
	}
	return &value{scalar: plain(n)}, nil
}

// fields reads a map; what the key << brings in gives way to its own fields.
func (r *reading) fields(n *yaml.Node, depth int) (*value, error) {
	own, inherited := map[string]field{}, map[string]field{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		v, err := r.value(n.Content[i+1], depth+1)
		switch {
		case err != nil:
			return nil, err
		case key.Kind != yaml.ScalarNode:
			return nil, fmt.Errorf("line %d: a key is not a text", key.Line)
		case key.Tag == "!!merge":
			for _, from := range append(v.items, v) {
				for name, f := range from.fields {
					if _, earlier := inherited[name]; !earlier {
						inherited[name] = f
					}
				}
			}
			continue
		}
		if _, twice := own[key.Value]; twice {
			return nil, fmt.Errorf("line %d: the key '%.50s' is there twice", key.Line, key.Value)
		}
		own[key.Value] = field{plain(key), v}
	}
	maps.Copy(inherited, own)
	return &value{fields: inherited}, nil
}

// plain is a scalar by itself.
func plain(n *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: n.Tag, Value: n.Value, Style: n.Style}
}

// merge lays over on v, both maps.
func (v *value) merge(over *value) {
	for name, f := range over.fields {
		if mine, found := v.fields[name]; found && mine.value.fields != nil && f.value.fields != nil {
			mine.value.merge(f.value)
			continue
		}
		v.fields[name] = f
	}
}

// node is the value as it is written, with its fields in order.
func (v *value) node() *yaml.Node {
	switch {
	case v.scalar != nil:
		return v.scalar
	case v.fields == nil:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range v.items {
			n.Content = append(n.Content, item.node())
		}
		return n
	}
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, name := range slices.Sorted(maps.Keys(v.fields)) {
		n.Content = append(n.Content, v.fields[name].key, v.fields[name].value.node())
	}
	return n
}
